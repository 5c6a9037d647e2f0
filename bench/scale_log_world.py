"""What is measured at each size, as seconds: each a thing users or daemons wait for."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from msgspec import Struct

from bench.distribution import Distribution
from bench.lives import life, live
from bench.scale_log_lives import QUEUED, Progress, fill, words
from bench.site import Site
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.postgres.task_reads import PgTaskReads
from pandar_daemon.ports import TaskFilter
from projections.models import MODELS
from tests.support.clock import ManualClock
from tests.support.desk import Desk, desk
from tests.support.log import running

IN_FLIGHT = 64
SEED = 5
_FOLDER = """
SELECT current_setting('data_directory') || '/base/' || oid FROM pg_database
WHERE datname = current_database()
"""
_TOLD = 200
"""Batches between two words about a rebuild."""


class World(Struct, kw_only=True):
    """A log of one size with its read models, and one process on it."""

    name: str
    url: str
    desk: Desk
    reads: PgTaskReads
    tasks: int
    events: int
    rebuilt_sec: float  # all read models
    numbers: Iterator[int]
    rng: random.Random

    def any_task(self) -> int:
        """Return a finished task."""
        return self.rng.randint(1, self.tasks)


@asynccontextmanager
async def world(
    site: Site, name: str, tasks: int, width: int, progress: Progress
) -> AsyncIterator[World]:
    """Yield a log of so many tasks, filled and projected."""
    url = await site.create(name)
    async with desk(url, ManualClock()) as made:
        events = await fill(url, made.log, tasks, width, progress)
        yield World(
            name=name,
            url=url,
            desk=made,
            reads=PgTaskReads(made.log.database, SystemClock()),
            tasks=tasks,
            events=events,
            rebuilt_sec=await _rebuild(made, events, progress),
            numbers=itertools.count(tasks + QUEUED + 1),
            rng=random.Random(SEED),
        )


async def _rebuild(made: Desk, events: int, progress: Progress) -> float:
    """Rebuild all read models, as `pandar rebuild` does; return how many seconds it took."""
    step = itertools.count(1)
    began = time.perf_counter()

    def built(model: str, position: int) -> None:
        if model == next(iter(MODELS)) and next(step) % _TOLD == 0:
            progress(f"rebuild {model}", position, events)

    await made.log.projector().rebuild_all(MODELS, built)
    progress("rebuild", events, events)
    return time.perf_counter() - began


Measure = Callable[[World], Awaitable[float]]


async def append(world: World) -> float:
    """Return seconds an append of a new task's events takes of the writer, 64 in flight."""
    left = iter(range(1_280))

    async def work() -> None:
        for _ in left:
            await live(world.desk.log.store, next(world.numbers), 0, *life(1)[:2])

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(work())
    return (time.perf_counter() - began) / 1_280


async def claim(world: World) -> float:
    """Return the p50 of a claim of one slot: candidates, a look at the task, its start."""
    taken = Distribution()
    async with _projected(world):
        for _ in range(100):
            began = time.perf_counter()
            given = await world.desk.claim(1)
            taken.add(time.perf_counter() - began)
            if not given:
                raise RuntimeError("nothing was queued any more")
    return taken.p50


@asynccontextmanager
async def _projected(world: World) -> AsyncIterator[None]:
    """Run a projector that has caught up."""
    projector = world.desk.log.projector()
    async with running(projector.run()):
        await projector.reached((await world.desk.log.store.head()).position)
        yield


async def catch_up(world: World) -> float:
    """Return seconds an event takes of a projector that has some thousands to catch up with."""
    store, tasks = world.desk.log.store, 600
    async with _projected(world):
        pass
    before = (await store.head()).position
    async with asyncio.TaskGroup() as group:
        for number in itertools.islice(world.numbers, tasks):
            group.create_task(live(store, number, 0, *life(number)))
    head = (await store.head()).position
    began = time.perf_counter()
    async with _projected(world):
        return (time.perf_counter() - began) / (head - before)


async def read(world: World) -> float:
    """Return the p50 of a task's row."""
    return (await _each(300, lambda: world.reads.get(world.any_task()))).p50


async def history(world: World) -> float:
    """Return the p50 of a task's events from the log."""
    store = world.desk.log.store
    return (await _each(300, lambda: store.read_stream(f"task-{world.any_task()}"))).p50


async def history_again(world: World) -> float:
    """Return the p50 of a task's events when they were read before, as of one that just ran."""
    store = world.desk.log.store
    streams = [f"task-{world.any_task()}" for _ in range(300)]
    for stream in streams:
        await store.read_stream(stream)
    again = iter(streams * 2)
    return (await _each(300, lambda: store.read_stream(next(again)))).p50


async def history_from_disk(world: World) -> float:
    """Return the p50 of a task's events when nothing of the database is in memory; needs Linux."""
    store, taken = world.desk.log.store, Distribution()
    superuser = await asyncpg.connect(world.url)
    try:
        await superuser.execute("CREATE EXTENSION IF NOT EXISTS pg_buffercache")
        await superuser.execute("CHECKPOINT")  # what is not written yet would stay
        folder = Path(await superuser.fetchval(_FOLDER))
        for _ in range(60):
            await superuser.execute("SELECT pg_buffercache_evict_all()")
            await asyncio.to_thread(_forget, folder)
            stream = f"task-{world.any_task()}"
            began = time.perf_counter()
            await store.read_stream(stream)
            taken.add(time.perf_counter() - began)
    finally:
        await superuser.close()
    return taken.p50


def _forget(folder: Path) -> None:
    """Have the kernel keep nothing of these files in memory."""
    for file in folder.iterdir():
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


async def page(world: World) -> float:
    """Return the p99 of pages of the list: newest first, by status, by priority, of a project."""
    filters = itertools.cycle(
        [
            TaskFilter(limit=50),
            TaskFilter(limit=50, status=frozenset({"pending"})),
            TaskFilter(limit=50, status=frozenset({"completed"})),
            TaskFilter(limit=50, sort_by="priority"),
            TaskFilter(limit=50, sort_by="updated_at", project_id=1),
        ]
    )
    return (await _each(200, lambda: world.reads.page(next(filters)))).p99


async def numbered_page(world: World) -> float:
    """Return the p50 of a page that tells how many tasks there are in all."""
    return (await _each(10, lambda: world.reads.page(TaskFilter(limit=50, page=1)))).p50


async def search(world: World) -> float:
    """Return the p99 of searches: a frequent word, a rare one, two words, part of one."""
    some = words()

    def wanted() -> TaskFilter:
        common, rare = world.rng.choice(some[:40]), world.rng.choice(some)
        text = world.rng.choice([common, rare, f"{common} {rare}", rare[:5], "checked nothing"])
        return TaskFilter(limit=20, search=text)

    return (await _each(300, lambda: world.reads.page(wanted()))).p99


async def _each(times: int, ask: Callable[[], Awaitable[object]]) -> Distribution:
    for _ in range(5):
        await ask()
    taken = Distribution()
    for _ in range(times):
        began = time.perf_counter()
        await ask()
        taken.add(time.perf_counter() - began)
    return taken


def rebuild_sec(world: World) -> float:
    """Return seconds an event takes of a rebuild of all read models."""
    return world.rebuilt_sec / world.events
