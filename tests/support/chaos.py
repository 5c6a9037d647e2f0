"""Campaigns: a load, a list of faults from a seed, and then the question whether all is well."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from events.commands import Decision
from events.confinement import Level
from pandar_daemon.adapters.nats.events import NatsEventStream
from tests.support.bus import connected
from tests.support.chaos_collect import LOOK_SEC, SETTLE_SEC, Site, open_site
from tests.support.chaos_faults import Fault, plan, shares, strike
from tests.support.chaos_fleet import Fleet
from tests.support.chaos_load import Load, moment
from tests.support.chaos_tasks import Marks
from tests.support.history import History, summary, violations
from tests.support.load import asking
from tests.support.servers import TestServers

CLIENTS = 4
AT_ONCE = 3
"""Faults that may overlap."""
PATIENCE_SEC = 60.0
"""So long nothing may happen at all, whatever is broken: every fault heals by itself before."""


class Report(Struct, kw_only=True):
    """What came of a campaign; ``broken`` is empty when every promise was kept."""

    seed: int
    rounds: int = 0
    kills: int = 0
    others: int = 0  # stopped and woken, or cut off
    runner_kills: int = 0
    judged: dict[str, int] = {}
    broken: list[str] = []
    verify: str = ""
    history: History | None = None

    def line(self) -> str:
        """Return seed and counts as a line for people."""
        return f"seed {self.seed}: {self.sum()}"

    def sum(self) -> str:
        """Return the counts as a line for people."""
        judged = ", ".join(f"{n} {what}" for what, n in self.judged.items())
        return (
            f"{self.rounds} rounds, {self.kills} kills"
            f" ({self.runner_kills} of runners), {self.others} stops and cuts; {judged};"
            f" violations: {len(self.broken)}"
        )


class Campaign:
    """One load and its faults, on a fleet that runs."""

    def __init__(self, fleet: Fleet, load: Load, marks: Marks, report: Report) -> None:
        self._fleet = fleet
        self._load = load
        self._marks = marks
        self._report = report
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._turns: dict[str, asyncio.Lock] = {}
        self._now: list[Fault] = []

    async def run(self, faults: Sequence[Fault]) -> None:
        """Do all faults under the load; return when the victims are well and the load ended."""
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(self._load.client(number))
            await self._strike_all(faults)
            self._load.open = False

    async def _strike_all(self, faults: Sequence[Fault]) -> None:
        async with asyncio.TaskGroup() as group:
            for n, fault in enumerate(faults):
                await moment(self._marks, fault.after, PATIENCE_SEC, lambda: str(self._now))
                await self._gate.acquire()
                group.create_task(self._strike(fault, random.Random(f"{self._report.seed}-{n}")))

    async def _strike(self, fault: Fault, rng: random.Random) -> None:
        try:
            async with self._turns.setdefault(shares(fault.victim), asyncio.Lock()):
                self._now.append(fault)
                killed = await strike(self._fleet, fault, rng)
                self._now.remove(fault)
        finally:
            self._gate.release()
        self._report.rounds += 1
        self._report.kills += killed
        self._report.others += not killed
        if fault.victim.startswith(("runner", "guardian")):
            self._report.runner_kills += killed


@asynccontextmanager
async def running(fleet: Fleet, report: Report) -> AsyncIterator[None]:
    """Start a fleet; stop it at the end, and see whether anything is left of it."""
    await fleet.start_all()
    try:
        yield
    finally:
        report.broken += await fleet.stop()


async def campaign(
    servers: TestServers,
    database_url: str,
    root: Path,
    *,
    seed: int,
    rounds: int,
    victims: Sequence[str] = (),
    boxed: bool = False,
) -> Report:
    """Run a campaign of a seed and return what came of it; raises nothing for a broken promise.

    With an odd seed the bus keeps events as a server of our own does, lazily. ``boxed``, each task
    is confined to its folder, and what it did is looked up in there.
    """
    report = Report(seed=seed)
    level = Level.BWRAP if boxed else Level.NONE
    fleet = Fleet(root, servers, database_url, PANDAR_SANDBOX=level)
    marks = Marks.in_workspaces(root) if boxed else Marks(root / "marks")
    async with connected(servers.nats_url) as connection:
        await NatsEventStream(connection, lazily=seed % 2 == 1).open(1)
    async with running(fleet, report):
        async with asking(servers.nats_url, fleet.token()) as asker:
            load = Load(asker, marks, seed)
            try:
                await Campaign(fleet, load, marks, report).run(plan(seed, rounds, victims))
            except* AssertionError as group:
                report.broken += [f"progress: {error}" for error in group.exceptions]
            async with open_site(database_url, servers.nats_url) as site:
                report.broken += await _settle(site, load, fleet)
                report.history = await _collect(site, load, marks)
        report.broken += [*load.faults, *violations(report.history)]
        report.judged = dict(summary(report.history))
        code, report.verify = await fleet.run("verify", "--json")
        report.broken += [f"verify: {report.verify}"] if code else []
    return report


async def _settle(site: Site, load: Load, fleet: Fleet) -> list[str]:
    """Bring every task to its end, deciding what waits; return what never came to one."""
    deadline = asyncio.get_running_loop().time() + SETTLE_SEC
    while unsettled := await site.unsettled(lambda: fleet.spools):
        if asyncio.get_running_loop().time() > deadline:
            return [f"settled: after {SETTLE_SEC:g} s not yet: {unsettled}"]
        for task in await site.waiting():
            await load.confirm(task, Decision.DENY)
        for task in await site.paused():
            await load.cancel(task)
        await asyncio.sleep(LOOK_SEC)
    return []


async def _collect(site: Site, load: Load, marks: Marks) -> History:
    _, models = await site.models()
    assert marks.count
    return History(
        events=await site.events(),
        acked=load.acked,
        receipts=await site.receipts(),
        bus=await site.bus(),
        models=models,
        effects=marks.effects,
        stored_outputs=await site.outputs(),
        expected_outputs=await site.expected(load.deeds),
    )


def keep(report: Report, folder: Path) -> Path:
    """Write seed, violations and history to a file and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"chaos-{report.seed}.json"
    history = report.history
    kept = {
        "seed": report.seed,
        "summary": report.line(),
        "broken": report.broken,
        "events": [] if history is None else history.events,
        "acked": [] if history is None else history.acked,
        "effects": [] if history is None else history.effects,
    }
    path.write_bytes(msgspec.json.encode(kept))
    return path
