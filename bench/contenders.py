"""The contenders for the append: the log, a commit for each append, and ``COPY``.

All three store the same rows (an event and the receipt of its command) in databases of their own
on one Postgres. *Alone* is the usual way: a statement and a commit an append, ordered by the lock
of a counter row. *COPY* is the limit: one session that knows all positions, checks nothing, and
loads as many rows a commit as the log did.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import asyncpg
from msgspec import Struct

from bench.distribution import Distribution
from bench.postgres import commits
from bench.site import Site
from events import codec
from events.task import TaskCreated
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.ports import Append, Appended
from tests.support.log import open_log

SESSIONS_MAX = 48
"""The embedded Postgres takes 60; the lock of the counter row lets one through at a time anyway."""
_SHA = hashlib.sha256(b"bench").digest()
_ANSWER = b'{"id":1,"status":"pending"}'
_CLOCK = SystemClock()

_ALONE = """
WITH head AS (UPDATE log_head SET position = position + 1 RETURNING position),
event AS (
    INSERT INTO events (position, stream, version, event_id, type, schema_version, recorded_at,
                        actor, project_id, command_id, correlation_id, data)
    SELECT position, $1, 1, $2, 'task.created', 1, clock_timestamp(), 'user:1', 1, $3, $3, $4
    FROM head)
INSERT INTO commands (command_id, request_sha256, stream, position, version, answer)
SELECT $3, $5, $1, position, 1, $6 FROM head
"""
_EVENT = (
    *("position", "stream", "version", "event_id", "type", "schema_version", "recorded_at"),
    *("actor", "project_id", "command_id", "correlation_id", "data"),
)
_RECEIPT = ("command_id", "request_sha256", "stream", "position", "version", "answer")


class Run(Struct, frozen=True):
    """What a contender stored in its time, in how many commits."""

    rows: int
    seconds: float
    commits: int
    taken: Distribution

    @property
    def rate(self) -> float:
        """Appends a second."""
        return self.rows / self.seconds


Rounds = dict[str, list[Run]]
NAMES = ("grouped", "alone", "copied")


@asynccontextmanager
async def databases(site: Site) -> AsyncIterator[None]:
    """Make a database for each contender; remove them after."""
    for name in NAMES:
        await site.create(name)
    yield
    for name in NAMES:
        await site.drop(name)


async def take_turns(
    site: Site, numbers: Iterator[int], level: int, seconds: float, rounds: int
) -> Rounds:
    """Let the contenders run in turn, so that a noisy moment does not meet one of them alone."""
    runs: Rounds = defaultdict(list)
    for _ in range(rounds):
        ours = await grouped(site, numbers, level, seconds)
        runs["grouped"].append(ours)
        runs["alone"].append(await alone(site, numbers, level, seconds))
        size = max(1, round(ours.rows / ours.commits))
        runs["copied"].append(await copied(site, numbers, size, seconds))
    return runs


async def steadily(
    site: Site, numbers: Iterator[int], level: int, seconds: float
) -> tuple[Run, float]:
    """Append to a log that grows from nothing and whose statistics nobody gathers.

    Returns the run, and the rate of its last quarter as a part of that of its first.
    """
    url = await site.create("steady")
    ends: list[float] = []
    async with open_log(url) as log:

        async def append(number: int) -> None:
            await log.store.append(_append(number))
            ends.append(time.perf_counter())

        rows, took, taken = await _repeat(append, numbers, level, seconds)
    await site.drop("steady")
    first = sum(end < ends[0] + took / 4 for end in ends)
    last = sum(end > ends[-1] - took / 4 for end in ends)
    return Run(rows, took, 0, taken), last / first


async def grouped(site: Site, numbers: Iterator[int], level: int, seconds: float) -> Run:
    """Append to the log, ``level`` at a time; raises ``TypeError`` if one is refused."""
    before, _ = await commits(site.admin, "grouped")
    async with open_log(site.url("grouped")) as log:

        async def append(number: int) -> None:
            verdict = await log.store.append(_append(number))
            if not isinstance(verdict, Appended):
                raise TypeError(f"task-{number} was not appended: {verdict}")

        rows, took, taken = await _repeat(append, numbers, level, seconds)
    return Run(rows, took, await _commits_since(site, "grouped", before), taken)


async def alone(site: Site, numbers: Iterator[int], level: int, seconds: float) -> Run:
    """Commit each append alone."""
    sessions = min(level, SESSIONS_MAX)
    async with asyncpg.create_pool(site.url("alone"), min_size=sessions, max_size=sessions) as pool:

        async def append(number: int) -> None:
            id_, text = _CLOCK.new_id(), _data(number).decode()
            stream, command = f"task-{number}", f"c-{number}"
            await pool.execute(_ALONE, stream, id_, command, text, _SHA, _ANSWER)

        rows, took, taken = await _repeat(append, numbers, level, seconds)
    return Run(rows, took, rows, taken)


async def copied(site: Site, numbers: Iterator[int], size: int, seconds: float) -> Run:
    """Load ``size`` rows a commit with ``COPY``."""
    connection = await asyncpg.connect(site.url("copied"))

    async def load(number: int) -> None:
        batch = [number, *itertools.islice(numbers, size - 1)]
        async with connection.transaction():
            await connection.copy_records_to_table(
                "events", records=map(_event_row, batch), columns=_EVENT
            )
            await connection.copy_records_to_table(
                "commands", records=map(_receipt_row, batch), columns=_RECEIPT
            )

    try:
        loads, took, taken = await _repeat(load, numbers, 1, seconds)
    finally:
        await connection.close()
    return Run(loads * size, took, loads, taken)


async def _repeat(
    work: Callable[[int], Awaitable[None]], numbers: Iterator[int], level: int, seconds: float
) -> tuple[int, float, Distribution]:
    """Do it ``level`` at a time for so long; return how often, how long, and how long each."""
    taken = Distribution()
    began = time.perf_counter()
    deadline = began + seconds

    async def worker() -> None:
        while (at := time.perf_counter()) < deadline:
            await work(next(numbers))
            taken.add(time.perf_counter() - at)

    async with asyncio.TaskGroup() as group:
        for _ in range(level):
            group.create_task(worker())
    return taken.count, time.perf_counter() - began, taken


async def _commits_since(site: Site, database: str, before: int) -> int:
    """Return how many transactions a database has committed, once its sessions have ended."""
    while True:
        after, sessions = await commits(site.admin, database)
        if not sessions:
            return after - before
        await asyncio.sleep(0.01)


# --- the rows ----------------------------------------------------------------------------------


def _data(number: int) -> bytes:
    return codec.encode(_created(number))


def _created(number: int) -> TaskCreated:
    name = f"bench {number}"
    return TaskCreated(task_id=number, project_id=1, name=name, command="true", created_by="1")


def _append(number: int) -> Append:
    return Append(
        stream=f"task-{number}",
        expected_version=0,
        events=(_created(number),),
        command_id=f"c-{number}",
        request_sha256=_SHA,
        answer=_ANSWER,
        actor="user:1",
        project_id=1,
        correlation_id=f"c-{number}",
    )


def _event_row(number: int) -> tuple[object, ...]:
    stream, command = f"task-{number}", f"c-{number}"
    who = (_CLOCK.now(), "user:1", 1, command, command)
    return (number, stream, 1, _CLOCK.new_id(), "task.created", 1, *who, _data(number).decode())


def _receipt_row(number: int) -> tuple[object, ...]:
    return f"c-{number}", _SHA, f"task-{number}", number, 1, _ANSWER
