"""Every service, ten at a time, fifty times each, stopped anywhere: nothing of them is left."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest

from pandar_daemon.config import Settings
from pandar_daemon.services.lifecycle import Run
from pandar_daemon.wiring.parts import Parts, parts
from pandar_daemon.wiring.places import Place
from pandar_daemon.wiring.roles import ROLES, services
from tests.support.bus import PATIENCE_SEC
from tests.support.waiting import until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]

AT_ONCE = 10
TIMES = 50
STOP_SEC = 12.0
"""What a service may take to stop: the longest, a runner, kills trees after 5 s of grace."""
NAMES = (
    "arrivals",
    "bell",
    "dispatcher",
    "granter",
    "http",
    "log",
    "metrics",
    "near",
    "notifier",
    "projector",
    "queue",
    "reaper",
    "relay",
    "runner",
    "scheduler",
    "service",
    "streams",
    "tail",
)


@pytest.fixture
async def processes(database_url: str, nats_url: str, tmp_path: Path) -> AsyncIterator[list[Parts]]:
    """Return the parts of ten processes on the same servers, the data of each its own."""
    place = Place(database_url=database_url, nats_url=nats_url)
    async with AsyncExitStack() as stack:
        made = []
        for n in range(AT_ONCE):
            data = tmp_path / str(n)
            data.mkdir(mode=0o700)
            settings = Settings(data=data, http_port=0, metrics_port=0)
            made.append(await stack.enter_async_context(parts(settings, place, "test")))
        async with asyncio.timeout(PATIENCE_SEC):
            for each in made:
                await each.connection.wait_up()
        yield made


def service(made: Parts, name: str) -> Run:
    """Return one service, freshly made."""
    return dict(services(made, ROLES, lambda: None))[name]


async def start_and_stop(made: Parts, name: str, dice: random.Random) -> None:
    """Start a service, as its supervisor does again and again, and stop it after some steps."""
    start = service(made, name)
    for _ in range(TIMES):
        run = asyncio.ensure_future(start())
        for _ in range(dice.choice((0, 1, 5, 20, 100, 400))):
            await asyncio.sleep(0)
        run.cancel()
        _, late = await asyncio.wait({run}, timeout=STOP_SEC)
        assert not late, f"{name} does not stop"
        assert run.cancelled(), run.exception()


def children() -> set[str]:
    """Return the processes this one has started; Linux only."""
    lists = Path("/proc/self/task").glob("*/children")
    return {pid for each in lists for pid in each.read_text().split()}


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(os.listdir("/dev/fd"))


@pytest.mark.parametrize("name", NAMES)
async def test_ten_at_a_time_fifty_times(
    processes: list[Parts], database_url: str, name: str
) -> None:
    """No task, listener, descriptor or child stays; the database's connections are the pools'."""
    tasks, before = asyncio.all_tasks(), children()
    listening = [len(each.connection._listeners) for each in processes]
    async with asyncio.TaskGroup() as group:
        for n, made in enumerate(processes):
            group.create_task(start_and_stop(made, name, random.Random(f"{name}/{n}")))
    await until(lambda: asyncio.all_tasks() <= tasks)
    assert [len(each.connection._listeners) for each in processes] == listening
    assert children() == before
    administrator = await asyncpg.connect(database_url)
    try:
        # What a killed connection leaves in Postgres goes when its backend notices.
        async with asyncio.timeout(PATIENCE_SEC):
            while await administrator.fetchval(_OTHERS) > AT_ONCE * 10:
                pass
    finally:
        await administrator.close()


async def test_no_descriptor_is_lost(processes: list[Parts]) -> None:
    """Whatever was started and stopped, this process has as many files open as before."""
    starts = [service(made, name) for made in processes for name in NAMES]
    for start in starts:  # once, so that all that is kept open is open
        await _once(start)
    before = descriptors()
    for start in starts:
        await _once(start)
    assert descriptors() <= before + AT_ONCE * 2  # pools may have grown meanwhile


async def _once(start: Run) -> None:
    run = asyncio.ensure_future(start())
    for _ in range(50):
        await asyncio.sleep(0)
    run.cancel()
    await asyncio.wait({run})


async def test_no_service_escapes(processes: list[Parts]) -> None:
    """All services there are were started and stopped above."""
    made = processes[0]
    assert sorted({name for name, _ in services(made, ROLES, lambda: None)}) == list(NAMES)


_OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
