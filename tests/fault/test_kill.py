"""kill -9 of each process under load: nothing is lost, nothing runs twice, `verify` is clean."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import asyncpg
import msgspec
import pytest

from events import commands as do
from events import subjects
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.config import Settings
from pandar_daemon.services.asking import Asker
from pandar_daemon.wiring.parts import tokens
from tests.support.backlog import RETRY, ROLES, TASKS, Load
from tests.support.daemon import Roles
from tests.support.load import PAUSE_SEC, all_over, asking, file_task, insist, marks_of
from tests.support.servers import TestServers
from tests.support.waiting import until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]


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
def token(roles: Roles) -> str:
    """Return an administrator's token."""
    return tokens(Settings(data=roles.data), SystemClock()).mint("1", ["admin"], 3600)


@pytest.fixture
async def owner(token: str, nats_url: str) -> AsyncIterator[Asker]:
    """Ask as an administrator; the commands role made project 1 before it said ready."""
    async with asking(nats_url, token) as asker:
        yield asker


@pytest.fixture
def load(roles: Roles, owner: Asker, database_url: str, tmp_path: Path) -> Load:
    """Return a load that is not filed yet."""
    return Load(roles, owner, database_url, tmp_path / "marks")


async def types_of(database_url: str, stream: str) -> Counter[str]:
    """Return how often each type of event is in a stream."""
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch("SELECT type FROM events WHERE stream = $1", stream)
    finally:
        await connection.close()
    return Counter(row["type"] for row in rows)


@pytest.mark.parametrize("victim", ["commands", "relay", "projector", "runner"])
async def test_killed_role_heals(roles: Roles, load: Load, victim: str) -> None:
    """A role killed in the middle of the load and started again leaves no trace in the results."""
    filing = await load.under_way()
    await roles.kill(victim)
    await roles.start(victim)
    await filing
    await load.settled()


@pytest.mark.parametrize("victim", ["nats", "postgres"])
async def test_killed_server_heals(servers: TestServers, load: Load, victim: str) -> None:
    """A server killed in the middle of the load and started again loses nothing either."""
    filing = await load.under_way()
    if victim == "nats":
        await servers.kill_nats()
        await servers.start_nats()
    else:
        await servers.kill_postgres()
        await servers.start_postgres()
    await filing
    await load.settled()


# --- the api, under a load of HTTP requests ---


async def post(session: aiohttp.ClientSession, n: int, marks: Path) -> int:
    """File a task by HTTP, again and again under one key until answered; return its id."""
    body = {
        "name": f"load {n}",
        "command": f"echo {n}/$PANDAR_ATTEMPT >> {marks}",
        "project_id": 1,
        "metadata": RETRY,
    }
    while True:
        try:
            async with session.post(
                "/api/v1/tasks", json=body, headers={"Idempotency-Key": f"post-{n}"}
            ) as reply:
                assert reply.status in {201, 503}, await reply.text()
                if reply.status == 201:
                    return int((await reply.json())["id"])
        except aiohttp.ClientConnectionError:
            await asyncio.sleep(PAUSE_SEC)  # what a careful client does between tries


async def post_all(session: aiohttp.ClientSession, marks: Path, told: list[int]) -> list[int]:
    """File the load by HTTP, eight at a time; ``told`` gets the ids as they are answered."""
    gate = asyncio.Semaphore(8)

    async def one(n: int) -> int:
        async with gate:
            told.append(task := await post(session, n, marks))
            return task

    return await asyncio.gather(*(one(n) for n in range(TASKS)))


async def test_killed_api_loses_no_request(roles: Roles, token: str, load: Load) -> None:
    """What was asked under an Idempotency-Key is there once, and a repeat names the same task."""
    await roles.start("api")
    headers = {"Authorization": f"Bearer {token}"}
    base_url = f"http://127.0.0.1:{roles.http_port}"
    async with aiohttp.ClientSession(base_url, headers=headers) as session:
        told: list[int] = []
        posting = asyncio.create_task(post_all(session, load.marks, told))
        await until(lambda: len(told) >= TASKS // 4)
        await roles.kill("api")
        assert not posting.done(), "all was filed before the api was killed"
        await roles.start("api")
        tasks = await posting
        assert await post_all(session, load.marks, told) == tasks
    await load.settled([f"task-{task}" for task in tasks])


# --- those who turn time into commands ---


async def schedule(owner: Asker, n: int, at: datetime, marks: Path) -> do.Accepted:
    """File a task that is to start at a time."""
    create = do.CreateTask(
        name=f"later {n}",
        command=f"echo {n}/$PANDAR_ATTEMPT >> {marks}",
        project_id=1,
        metadata=RETRY,
        scheduled_at=at,
    )
    body = msgspec.json.encode(create)
    return await insist(owner, subjects.command("task.create", 1), body, f"later-{n}")


async def test_killed_scheduler_starts_all_that_is_due_once(
    roles: Roles, owner: Asker, load: Load
) -> None:
    """Killed when the first of many is due, it is replaced, and each is started exactly once."""
    marks = load.marks
    first = datetime.now(UTC) + timedelta(seconds=1)
    times = [first + timedelta(seconds=n / 10) for n in range(TASKS // 2)]
    filing = (schedule(owner, n, at, marks) for n, at in enumerate(times))
    streams = [task.stream for task in await asyncio.gather(*filing)]
    await until(lambda: marks_of(marks))
    await roles.kill("scheduler")
    assert len(marks_of(marks)) < len(streams), "all was started before the scheduler was killed"
    await roles.start("scheduler")
    await load.settled(streams)
    for stream in streams:
        types = await types_of(load.database_url, stream)
        assert (types["task.start_requested"], types["task.started"]) == (1, 1)


async def test_killed_reaper_still_finds_the_lost(roles: Roles, owner: Asker, load: Load) -> None:
    """Leases that ran out while there was no reaper are found by the next one, each once."""
    marks = load.marks
    lost = {"on_lost": "fail"}
    filing = (file_task(owner, n, marks, lost, "sleep 600") for n in range(4))
    streams = [task.stream for task in await asyncio.gather(*filing)]
    await until(lambda: len(marks_of(marks)) == len(streams))
    await roles.kill("reaper")
    await roles.kill("runner")
    await roles.start("reaper", "runner")
    await all_over(load.database_url, streams)
    for stream in streams:
        types = await types_of(load.database_url, stream)
        assert (types["task.execution_lost"], types["task.failed"]) == (1, 1)
    load.ran_once()
    await load.verified()
