"""Archiving some ranges of a large log; reading files against reading the table."""

from __future__ import annotations

import time
from pathlib import Path

import asyncpg

from bench.distribution import Distribution
from bench.figures import Figure, ratio
from bench.scale_log_lives import EVENTS
from bench.scale_log_world import World
from pandar_daemon.adapters.archive.folder import FileArchive
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.postgres.archivable import archivable
from pandar_daemon.adapters.postgres.event_store import PgEventStore
from pandar_daemon.services.archiver import Archiver, Done

RANGES = 2
PART = "archive"
_BATCH = 2_000
_MIB = 2**20


async def measure(world: World, folder: Path, width: int) -> list[Figure]:
    """Return the figures of archiving the first ranges of a log."""
    size = await _table_bytes(world, width)
    began = time.perf_counter()
    done = await _archive(world, folder, RANGES * width)
    took = time.perf_counter() - began
    events = sum(one.archived.span.count for one in done)
    files = sum(path.stat().st_size for path in folder.iterdir())  # noqa: ASYNC240 - nobody waits
    store = PgEventStore(
        world.url, world.desk.log.database, SystemClock(), archive=FileArchive(folder)
    )
    end = min(events, 200_000)
    return [
        Figure(
            part=PART,
            what="write, read back, compare, retire",
            value=events / took,
            unit="events/s",
            note=f"{len(done)} ranges, {events:,} events, {done[-1].kept:,} stay",
        ),
        Figure(
            part=PART,
            what="files, of the table with its indexes",
            value=ratio(files, size),
            unit="x",
            note=f"{files / events:,.0f} bytes an event",
        ),
        *await _reading(store, events, end),
        *await _histories(store, world, events),
    ]


async def _archive(world: World, folder: Path, up_to: int) -> list[Done]:
    connection = await asyncpg.connect(world.url)
    at = "SELECT recorded_at FROM events WHERE position = $1"
    before = await connection.fetchval(at, up_to + 1)
    await connection.close()
    async with archivable(world.url) as log:
        return await Archiver(log, FileArchive(folder), lambda *_: None).run(before)


async def _table_bytes(world: World, width: int) -> int:
    sizes = [
        await world.desk.log.database.fetchval(
            "SELECT pg_total_relation_size($1::regclass)", f"events_{n * width + 1}"
        )
        for n in range(RANGES)
    ]
    return sum(int(str(size)) for size in sizes)


async def _reading(store: PgEventStore, archived: int, count: int) -> list[Figure]:
    files = await _read(store, 0, count)
    table = await _read(store, archived, count)
    return [
        Figure(part=PART, what="read from files, in order", value=files, unit="events/s"),
        Figure(
            part=PART,
            what="of reading from the table",
            value=ratio(files, table),
            unit="x",
            note=f"table: {table:,.0f} events/s",
        ),
    ]


async def _read(store: PgEventStore, after: int, count: int) -> float:
    began, position = time.perf_counter(), after
    while position < after + count:
        batch = await store.read_all(after=position, limit=_BATCH)
        if not batch:
            break
        position = batch[-1].position
    return (position - after) / (time.perf_counter() - began)


async def _histories(store: PgEventStore, world: World, archived: int) -> list[Figure]:
    """Return what the events of one task cost, in files and in the table."""
    taken = {"files": Distribution(), "table": Distribution()}
    tasks = archived // EVENTS
    for n in range(100):
        for where, task in (("files", 1 + n * (tasks // 110)), ("table", world.tasks - n)):
            began = time.perf_counter()
            events = await store.read_stream(f"task-{task}")
            taken[where].add(time.perf_counter() - began)
            if len(events) != EVENTS:
                raise RuntimeError(f"task-{task} has {len(events)} events")
    note = f"from the table: {taken['table'].p50 * 1e3:.2g} ms"
    p50 = taken["files"].p50 * 1e3
    return [Figure(part=PART, what="a task's events p50", value=p50, unit="ms", note=note)]
