"""How long a command takes, on the bus and within a process, against a commit of one row."""

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
from bench.site import Site
from events import commands as do
from events import subjects
from pandar_daemon.services.asking import Asker
from tests.support.in_process import in_process
from tests.support.load import asking

PART = "command"
NEAR = "command, in one process"
_ROLES = ("commands", "relay", "projector")
_LEISURE_SEC = 0.03  # between two commands: their events are on the bus and shown by then

Commit = Callable[[int], Awaitable[object]]


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


async def answers_near(servers: Site, scale: Scale) -> list[Figure]:
    """Return the figures of commands that the API and the runner of a `pandar up` give."""
    url = await servers.create("near")
    async with servers.parts("near") as made, in_process(made, _ROLES):
        asker = made.asker("1", "admin")
        body = msgspec.json.encode(do.CreateProject(name="near"))
        await asker.ask(subjects.command("project.create"), body, "bench-project")
        async with _one_row(url) as commit:
            taken = await _in_turn(asker, commit, scale.asks)
    await servers.drop("near")
    return taken.figures(NEAR, at_most(2))


async def ask_and_commit(pandar: Daemon, times: int) -> Answers:
    """Commit a row and ask a command, by turns, in a database of its own on the same Postgres."""
    url = await pandar.create("bench_commit")
    try:
        async with (
            _one_row(url) as commit,
            asking(pandar.place.nats_url, pandar.token) as asker,
        ):
            return await _in_turn(asker, commit, times)
    finally:
        await pandar.drop("bench_commit")


async def _in_turn(asker: Asker, commit: Commit, times: int) -> Answers:
    taken = Answers()
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
async def _one_row(url: str) -> AsyncIterator[Commit]:
    """Yield what commits a row in this database."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("CREATE TABLE one (n integer)")
        yield (await connection.prepare("INSERT INTO one VALUES ($1)")).fetch
    finally:
        await connection.close()
