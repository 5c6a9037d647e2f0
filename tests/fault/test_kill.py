"""kill -9 of each process under load: nothing is lost, nothing runs twice, `verify` is clean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from events import commands as do
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.config import Settings
from pandar_daemon.services.asking import Asker
from pandar_daemon.wiring.parts import tokens
from tests.support.daemon import Roles
from tests.support.load import asking, file_task, marks_of
from tests.support.servers import TestServers
from tests.support.waiting import until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]

ROLES = ("commands", "relay", "projector", "runner", "scheduler", "reaper")
TASKS = 40
RETRY = {"max_retries": 3, "on_lost": "retry"}


@pytest.fixture
async def roles(
    servers: TestServers, database_url: str, nats_url: str, tmp_path: Path
) -> AsyncIterator[Roles]:
    """Run every role that a task needs as a process of its own, with a short lease."""
    extra = {"PANDAR_LEASE_TTL_SEC": "3", "PANDAR_SLOTS": "4"}
    running = Roles(tmp_path, database_url, nats_url, **extra)
    await running.start(*ROLES)
    yield running
    await running.stop()


@pytest.fixture
async def owner(roles: Roles, nats_url: str) -> AsyncIterator[Asker]:
    """Ask as an administrator; the commands role made project 1 before it said ready."""
    token = tokens(Settings(data=roles.data), SystemClock()).mint("1", ["admin"], 3600)
    async with asking(nats_url, token) as asker:
        yield asker


async def all_over(database_url: str, tasks: list[do.Accepted]) -> None:
    """Return once every task is in a terminal state, by the log."""
    connection = await asyncpg.connect(database_url)
    streams = [task.stream for task in tasks]
    try:
        async with asyncio.timeout(120):
            while len(await connection.fetch(_OVER, streams)) < len(streams):  # noqa: ASYNC110 - others work
                await asyncio.sleep(0.1)
    finally:
        await connection.close()


_OVER = """
SELECT stream FROM (SELECT DISTINCT ON (stream) stream, type FROM events
                    WHERE stream = ANY ($1) ORDER BY stream, version DESC) last
WHERE type IN ('task.completed', 'task.failed', 'task.cancelled')
"""


async def check(roles: Roles, database_url: str, tasks: list[do.Accepted], marks: Path) -> None:
    """Every answered task was stored once and ran each attempt once; `pandar verify` is clean."""
    assert len({task.stream for task in tasks}) == len(tasks)
    twice = {mark: n for mark, n in marks_of(marks).items() if n > 1}
    assert not twice, f"ran more than once: {twice}"
    connection = await asyncpg.connect(database_url)
    try:
        created = await connection.fetchval(
            "SELECT count(*) FROM events WHERE type = 'task.created'"
        )
        completed = await connection.fetchval(
            "SELECT count(DISTINCT stream) FROM events WHERE type = 'task.completed'"
        )
    finally:
        await connection.close()
    assert created == len(tasks)
    assert completed == len(tasks)
    code, printed = await roles.run("verify", "--json")
    assert code == 0, printed


async def file_all(owner: Asker, marks: Path, command: str = "sleep 0.05") -> list[do.Accepted]:
    """File the load, eight at a time."""
    gate = asyncio.Semaphore(8)

    async def one(n: int) -> do.Accepted:
        async with gate:
            return await file_task(owner, n, marks, RETRY, command)

    return await asyncio.gather(*(one(n) for n in range(TASKS)))


@pytest.mark.parametrize("victim", ["commands", "relay", "projector", "runner"])
async def test_killed_role_heals(
    roles: Roles, owner: Asker, database_url: str, tmp_path: Path, victim: str
) -> None:
    """A role killed in the middle of the load and started again leaves no trace in the results."""
    marks = tmp_path / "marks"
    filing = asyncio.create_task(file_all(owner, marks))
    await until(lambda: len(marks_of(marks)) >= TASKS // 8)
    await roles.kill(victim)
    await roles.start(victim)
    tasks = await filing
    await all_over(database_url, tasks)
    await check(roles, database_url, tasks, marks)


@pytest.mark.parametrize("victim", ["nats", "postgres"])
async def test_killed_server_heals(
    servers: TestServers, roles: Roles, owner: Asker, database_url: str, tmp_path: Path, victim: str
) -> None:
    """A server killed in the middle of the load and started again loses nothing either."""
    marks = tmp_path / "marks"
    filing = asyncio.create_task(file_all(owner, marks))
    await until(lambda: len(marks_of(marks)) >= TASKS // 8)
    if victim == "nats":
        await servers.kill_nats()
        await servers.start_nats()
    else:
        await servers.kill_postgres()
        await servers.start_postgres()
    tasks = await filing
    await all_over(database_url, tasks)
    await check(roles, database_url, tasks, marks)
