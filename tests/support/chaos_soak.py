"""`make soak`: campaigns with fresh seeds for so many minutes, until one breaks a promise.

``SOAK_MIN`` is how long. To play a campaign again: ``PANDAR_CHAOS_SEED``, and as it says
``PANDAR_CHAOS_ROUNDS`` and ``PANDAR_CHAOS_VICTIMS`` (names separated by commas).
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import structlog
from msgspec import Struct

from tests.support.chaos import Report, campaign, keep
from tests.support.chaos_faults import GUARDIANS, RUNNERS
from tests.support.servers import TestServers

ROUNDS = 50
SHOWN = 50


class Wanted(Struct, frozen=True):
    """One campaign; without ``victims`` everything there is may be hit."""

    seed: int
    rounds: int
    victims: tuple[str, ...] = ()

    def again(self) -> str:
        """Return the command that plays it again."""
        victims = f" PANDAR_CHAOS_VICTIMS={','.join(self.victims)}" if self.victims else ""
        return f"PANDAR_CHAOS_SEED={self.seed} PANDAR_CHAOS_ROUNDS={self.rounds}{victims} make soak"


def given() -> Wanted | None:
    """Return the campaign that the environment names, if it does."""
    seed = os.environ.get("PANDAR_CHAOS_SEED")
    rounds = int(os.environ.get("PANDAR_CHAOS_ROUNDS", ROUNDS))
    victims = os.environ.get("PANDAR_CHAOS_VICTIMS")
    return Wanted(int(seed), rounds, tuple(victims.split(",")) if victims else ()) if seed else None


def fresh(minutes: float) -> Iterator[Wanted]:
    """Yield campaigns while there is time, in turns on everything and on runners alone."""
    until = time.monotonic() + minutes * 60
    source = random.SystemRandom()
    while time.monotonic() < until:
        yield Wanted(source.getrandbits(32), ROUNDS)
        yield Wanted(source.getrandbits(32), 2 * ROUNDS, (*RUNNERS, *GUARDIANS))


async def one(servers: TestServers, wanted: Wanted) -> Report:
    """Run one campaign on a database and a folder of its own; keep the folder when it failed."""
    say(wanted.again())
    root = Path(tempfile.mkdtemp(prefix=f"pandar-soak-{wanted.seed}-"))
    database_url = await servers.create_database()
    await servers.start_nats()
    report = await campaign(
        servers,
        database_url,
        root,
        seed=wanted.seed,
        rounds=wanted.rounds,
        victims=wanted.victims,
    )
    say(f"  {report.line()}")
    if report.broken:
        say(f"  history and what each process said: {keep(report, root)}")
    else:
        shutil.rmtree(root)
    await servers.delete_streams()
    await servers.drop_database(database_url)
    return report


async def soak(servers: TestServers, campaigns: Iterator[Wanted]) -> Report:
    """Run campaigns until one fails; return the sum of all."""
    total, judged = Report(seed=0), Counter[str]()
    for wanted in campaigns:
        report = await one(servers, wanted)
        total.rounds += report.rounds
        total.kills += report.kills
        total.others += report.others
        total.runner_kills += report.runner_kills
        judged.update(report.judged)
        total.broken += report.broken
        if report.broken:
            break
    total.judged = dict(judged)
    return total


def say(line: str) -> None:
    """Print a line now."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Soak; return 1 when a promise was broken."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    wanted = given()
    campaigns = iter([wanted]) if wanted else fresh(float(os.environ.get("SOAK_MIN", "10")))
    servers = TestServers()
    servers.open()
    try:
        report = asyncio.run(soak(servers, campaigns))
    finally:
        servers.close()
    for line in report.broken[:SHOWN]:
        say(f"  {line}")
    say(f"soaked: {report.sum()}")
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
