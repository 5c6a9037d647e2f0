"""Appending to the log, against committing each append alone and against ``COPY``.

Three contenders store the same rows (an event and the receipt of its command) in databases of
their own on one Postgres, in turn. *Alone* is the usual way: a statement and a commit an append,
ordered by the lock of a counter row. *COPY* is the limit: one session that knows all positions,
checks nothing, and loads as many rows a commit as the log did.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator

import asyncpg
from msgspec import Struct

from bench.distribution import Distribution
from bench.figures import Figure, at_least, at_most, ratio, typical
from bench.postgres import commits
from bench.scale import Scale
from bench.site import Site
from events import codec
from events.task import TaskCreated
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.ports import Append, Appended
from tests.support.log import open_log

LEVELS = (1, 16, 64)
SESSIONS_MAX = 48
"""The embedded Postgres takes 60; the lock of the counter row lets one through at a time anyway."""
_WARM_SEC = 0.2
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


async def measure(site: Site, scale: Scale) -> list[Figure]:
    """Return the figures of appending at every level."""
    for name in ("grouped", "alone", "copied"):
        await site.create(name)
    numbers = itertools.count(1)
    await _rounds(site, numbers, 1, _WARM_SEC, 1)
    figures: list[Figure] = []
    best = 0.0
    for level in LEVELS:
        rounds = await _rounds(site, numbers, level, scale.append_sec, scale.append_rounds)
        best = max(best, typical([run.rate for run in rounds["alone"]]))
        figures += _figures(level, rounds, best)
    figures.append(await _steady(site, numbers, scale.steady_sec))
    for name in ("grouped", "alone", "copied"):
        await site.drop(name)
    return figures


Rounds = dict[str, list[Run]]


async def _rounds(
    site: Site, numbers: Iterator[int], level: int, seconds: float, rounds: int
) -> Rounds:
    """Let the contenders run in turn, so that a noisy moment does not meet one of them alone."""
    runs: Rounds = defaultdict(list)
    for _ in range(rounds):
        grouped = await _grouped(site, numbers, level, seconds)
        runs["grouped"].append(grouped)
        runs["alone"].append(await _alone(site, numbers, level, seconds))
        size = max(1, round(grouped.rows / grouped.commits))
        runs["copied"].append(await _copied(site, numbers, size, seconds))
    return runs


def _figures(level: int, rounds: Rounds, best: float) -> list[Figure]:
    grouped, alone, copied = rounds["grouped"], rounds["alone"], rounds["copied"]
    most = level == LEVELS[-1]

    def figure(what: str, value: float, unit: str, **more: object) -> Figure:
        return Figure(part=f"append, {level} in flight", what=what, value=value, unit=unit, **more)  # type: ignore[arg-type]

    return [
        figure("appends", typical([run.rate for run in grouped]), "/s"),
        figure("p50", typical([run.taken.p50 for run in grouped]) * 1e3, "ms"),
        figure(
            "commits per command",
            typical([ratio(run.commits, run.rows) for run in grouped]),
            "",
            goal=at_most(0.1) if most else None,
        ),
        figure(
            "of one commit an append",
            typical([ratio(a.rate, b.rate) for a, b in zip(grouped, alone, strict=True)]),
            "x",
            note=f"alone: {typical([run.rate for run in alone]):,.0f}/s, best so far {best:,.0f}/s",
        ),
        figure(
            "of COPY in commits of the same size",
            typical([ratio(a.rate, b.rate) for a, b in zip(grouped, copied, strict=True)]),
            "x",
            goal=at_least(0.5) if most else None,
            note=f"COPY: {typical([run.rate for run in copied]):,.0f}/s",
        ),
    ]


async def _steady(site: Site, numbers: Iterator[int], seconds: float) -> Figure:
    """Return what is left of the rate as a fresh log grows and no statistics are gathered."""
    url = await site.create("steady")
    ends: list[float] = []
    async with open_log(url) as log:

        async def append(number: int) -> None:
            await log.store.append(_append(number))
            ends.append(time.perf_counter())

        rows, took, _ = await _repeat(append, numbers, LEVELS[-1], seconds)
    await site.drop("steady")
    part = took / 4
    first = sum(end < ends[0] + part for end in ends)
    last = sum(end > ends[-1] - part for end in ends)
    return Figure(
        part=f"append, {LEVELS[-1]} in flight",
        what="last quarter of the first, growing from nothing",
        value=ratio(last, first),
        unit="x",
        goal=at_least(0.67),
        note=f"{rows:,} rows in {took:.0f} s",
    )


# --- the contenders ----------------------------------------------------------------------------


async def _grouped(site: Site, numbers: Iterator[int], level: int, seconds: float) -> Run:
    before, _ = await commits(site.admin, "grouped")
    async with open_log(site.url("grouped")) as log:

        async def append(number: int) -> None:
            verdict = await log.store.append(_append(number))
            if not isinstance(verdict, Appended):
                raise TypeError(f"task-{number} was not appended: {verdict}")

        rows, took, taken = await _repeat(append, numbers, level, seconds)
    return Run(rows, took, await _commits_since(site, "grouped", before), taken)


async def _alone(site: Site, numbers: Iterator[int], level: int, seconds: float) -> Run:
    sessions = min(level, SESSIONS_MAX)
    async with asyncpg.create_pool(site.url("alone"), min_size=sessions, max_size=sessions) as pool:

        async def append(number: int) -> None:
            id_, text = _CLOCK.new_id(), _data(number).decode()
            stream, command = f"task-{number}", f"c-{number}"
            await pool.execute(_ALONE, stream, id_, command, text, _SHA, _ANSWER)

        rows, took, taken = await _repeat(append, numbers, level, seconds)
    return Run(rows, took, rows, taken)


async def _copied(site: Site, numbers: Iterator[int], size: int, seconds: float) -> Run:
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
