"""How long a command on the bus takes, against a commit of one row."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import msgspec
from msgspec import Struct, field

from bench.daemon import Daemon
from bench.distribution import Distribution
from bench.figures import Figure, Goal, at_most, ratio
from bench.scale import Scale
from events import commands as do
from events import subjects
from pandar_daemon.services.asking import Asker
from tests.support.load import asking

PART = "command"
_LEISURE_SEC = 0.03  # between two commands: their events are on the bus and shown by then


class Answers(Struct):
    """How long commands and commits of one row took, in turn with each other."""

    asked: Distribution = field(default_factory=Distribution)
    committed: Distribution = field(default_factory=Distribution)

    def figures(self, part: str, goal: Goal | None = None) -> list[Figure]:
        """Return them as figures; the goal is for their ratio."""
        return [
            Figure(part=part, what="asked → answered p50", value=self.asked.p50 * 1e3, unit="ms"),
            Figure(
                part=part,
                what="of a commit of one row",
                value=ratio(self.asked.p50, self.committed.p50),
                unit="x",
                goal=goal,
                note=f"commit: {self.committed.p50 * 1e3:.2f} ms",
            ),
        ]


async def answers(pandar: Daemon, scale: Scale) -> list[Figure]:
    """Return the figures of commands on a daemon that has nothing else to do."""
    return (await ask_and_commit(pandar, scale.asks)).figures(PART, at_most(2))


async def ask_and_commit(pandar: Daemon, times: int) -> Answers:
    """Commit a row and ask a command, by turns."""
    taken = Answers()
    async with (
        _one_row(pandar) as commit,
        asking(pandar.place.nats_url, pandar.token) as asker,
    ):
        for n in range(times):
            await _timed(taken.committed, commit(n))
            await _timed(taken.asked, _ask(asker, n))
            await asyncio.sleep(_LEISURE_SEC)
    return taken


async def _timed(taken: Distribution, work: Awaitable[object]) -> None:
    began = time.perf_counter()
    await work
    taken.add(time.perf_counter() - began)


async def _ask(asker: Asker, number: int) -> None:
    command = do.CreateTask(name="ask", command="true", project_id=1, auto_start=False)
    body = msgspec.json.encode(command)
    await asker.ask(subjects.command("task.create", 1), body, f"bench-ask-{number}")


@asynccontextmanager
async def _one_row(pandar: Daemon) -> AsyncIterator[Callable[[int], Awaitable[object]]]:
    """Yield what commits a row, in a database of its own on the same Postgres."""
    name = "bench_commit"
    connection = await asyncpg.connect(await pandar.create(name))
    try:
        await connection.execute("CREATE TABLE one (n integer)")
        yield (await connection.prepare("INSERT INTO one VALUES ($1)")).fetch
    finally:
        await connection.close()
        await pandar.drop(name)
