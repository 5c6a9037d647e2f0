"""A lost runner is noticed in time, and whatever it still does or left behind has no effect."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from events import codec
from events import task as did
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.process.host import Host
from pandar_daemon.config import Settings
from tests.support.chaos import PATIENCE_SEC, campaign, keep
from tests.support.chaos_collect import LOOK_SEC, Site, open_site
from tests.support.chaos_faults import GUARDIANS, RUNNERS
from tests.support.chaos_fleet import Fleet, send
from tests.support.chaos_load import Load, moment
from tests.support.chaos_tasks import Deed, Marks
from tests.support.history import History, violations
from tests.support.load import asking
from tests.support.servers import TestServers
from tests.support.trees import spec_of
from tests.support.waiting import until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

NOTICED = timedelta(seconds=10)
"""The promise, with the lease every installation has unless told otherwise."""
SPINE = ("commands-1", "relay-1", "projector-1", "reaper-1")
LOST = ("runner-1", "runner-2", "runner-3")
BASE = 20_260_103
ROUNDS = int(os.environ.get("PANDAR_CHAOS_ROUNDS", "25"))
GIVEN = os.environ.get("PANDAR_CHAOS_SEED")
SEED = int(GIVEN) if GIVEN else BASE


@pytest.fixture
async def fleet(
    servers: TestServers, database_url: str, nats_url: str, tmp_path: Path
) -> AsyncIterator[Fleet]:
    """Run what tasks need, and three runners of one slot, with the lease of `Settings`."""
    lease = str(Settings(data=tmp_path).lease_ttl_sec)
    extra = {"PANDAR_LEASE_TTL_SEC": lease, "PANDAR_SLOTS": "1"}
    running = Fleet(tmp_path, servers, database_url, members=(*SPINE, *LOST), **extra)
    await running.start_all()
    yield running
    assert await running.stop() == []


@pytest.fixture
async def site(fleet: Fleet, database_url: str, nats_url: str) -> AsyncIterator[Site]:
    """Read the log."""
    async with open_site(database_url, nats_url) as opened:
        yield opened


async def begin(load: Load, marks: Marks) -> None:
    """File a long task for each runner, and wait until all of them run."""
    endless = {"on_lost": "fail", "max_retries": 0}
    for n in range(len(LOST)):
        deed = Deed(n=n, beats=100_000, width=6, fails=0, child=True, metadata=endless)
        await load.file(deed)
    await until(lambda: len(marks.begun) == len(LOST))


async def name_of(fleet: Fleet, member: str) -> str:
    """Return under which name a runner claims."""
    found = re.search(r'"runner":"([^"]+)"', await fleet[member].says('"runner.up"'))
    assert found is not None
    return found[1]


async def noticed_at(site: Site, runner: str) -> datetime:
    """Return when a runner was recorded to be lost, once it is."""
    while True:
        for recorded in await site.events():
            event = codec.decode(recorded)
            if isinstance(event, did.ExecutionLost) and event.runner_id.endswith(runner):
                return recorded.recorded_at
        await asyncio.sleep(LOOK_SEC)


async def hit(fleet: Fleet, member: str, number: signal.Signals) -> datetime:
    """Send a signal to a runner, and to nothing else; return when that was."""
    at = datetime.now(UTC)
    send(fleet[member].process.pid, number)
    return at


async def test_a_lost_runner_is_noticed_within_ten_seconds(
    fleet: Fleet, site: Site, servers: TestServers, tmp_path: Path
) -> None:
    """Killed or stopped at a random moment: by the log's own times, and with no late effect."""
    marks, rng = Marks(tmp_path / "marks"), random.Random(SEED)
    names = {member: await name_of(fleet, member) for member in LOST}
    async with asking(servers.nats_url, fleet.token()) as asker:
        await begin(load := Load(asker, marks, SEED), marks)
    await hit(fleet, "runner-3", signal.SIGKILL)
    await noticed_at(site, names["runner-3"])  # the reaper's grace after its start is over

    await moment(marks, rng.randrange(200), PATIENCE_SEC, str)
    killed = await hit(fleet, "runner-1", signal.SIGKILL)
    await moment(marks, rng.randrange(100), PATIENCE_SEC, str)
    stopped = await hit(fleet, "runner-2", signal.SIGSTOP)
    try:
        after = {
            "runner-1": await noticed_at(site, names["runner-1"]) - killed,
            "runner-2": await noticed_at(site, names["runner-2"]) - stopped,
        }
    finally:
        await hit(fleet, "runner-2", signal.SIGCONT)
    assert max(after.values()) < NOTICED, f"seed {SEED}: {after}"
    await fleet["runner-2"].says('"execution.(stale|discarded)"')
    history = History(events=await site.events(), acked=load.acked, effects=marks.effects)
    assert violations(history) == []


async def test_a_runner_that_slept_before_a_start_starts_nothing(tmp_path: Path) -> None:
    """Stopped between taking a lease and using it, it wakes when the lease is long over."""
    late = replace(spec_of("touch started", tmp_path), until=SystemClock().boottime())
    process = await Host(tmp_path / "data").start(late)
    await process.kill()
    await process.wait()
    assert not (tmp_path / "started").exists()


async def test_killed_runners_do_nothing_twice(
    servers: TestServers, database_url: str, nats_url: str, tmp_path: Path
) -> None:
    """Only runners and guardians, killed and stopped at random moments: each effect once."""
    victims = (*RUNNERS, *GUARDIANS)
    report = await campaign(
        servers, database_url, tmp_path, seed=SEED, rounds=ROUNDS, victims=victims
    )
    assert not report.broken, f"{keep(report, tmp_path)}: {report.broken[:20]}"
    assert report.runner_kills
