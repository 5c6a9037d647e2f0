"""The wall clock of Pandar's machines jumps by hours: nothing is lost, nothing happens twice.

Leases and leads are judged by the database's clock, deadlines by one that never jumps. Schedules
and expiries are times of day: they come when the wall clock says so, each once. Real servers; only
the clock of the roles, which run in this process, is ours.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from events import commands as do
from events import subjects
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.config import Settings
from pandar_daemon.ports import Clock
from pandar_daemon.services.lifecycle import run_until
from pandar_daemon.wiring.parts import parts, tokens
from pandar_daemon.wiring.places import Place
from pandar_daemon.wiring.roles import services
from tests.support.api import running_api
from tests.support.load import all_over, asking, marks_of
from tests.support.servers import TestServers
from tests.support.serving import insist
from tests.support.up import eventually
from tests.support.waiting import until

pytestmark = [pytest.mark.servers, pytest.mark.fault, pytest.mark.timeout(180)]

HOURS = 5
LEASE_TTL_SEC = 2.0


class JumpingClock(SystemClock):
    """The machine's clock, as somebody set it; the one that never jumps does not."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        """Return what the wall clock shows."""
        return super().now() + self.ahead

    def jump(self, hours: float) -> None:
        """Set the wall clock forth or back."""
        self.ahead += timedelta(hours=hours)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> list[JumpingClock]:
    """Return the clocks of the processes' parts, in the order in which those are made."""
    made: list[JumpingClock] = []

    def make() -> JumpingClock:
        made.append(JumpingClock())
        return made[-1]

    monkeypatch.setattr("pandar_daemon.wiring.parts.SystemClock", make)
    return made


@asynccontextmanager
async def running(settings: Settings, place: Place, *roles: str) -> AsyncIterator[None]:
    """Run roles on a clock of their own."""
    stop = asyncio.Event()
    async with parts(settings, place, "clock") as made:
        task = asyncio.create_task(run_until(stop, services(made, roles, lambda: None)))
        try:
            await made.connection.wait_up()
            yield
        finally:
            stop.set()
            await asyncio.wait({task})


async def starts(database: asyncpg.Connection) -> Counter[str]:
    """Return how often each task was asked to start."""
    sql = "SELECT stream FROM events WHERE type = 'task.start_requested'"
    return Counter(row["stream"] for row in await database.fetch(sql))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Give a connection to the log."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


COUNTING = "while [ ! -e {go} ]; do echo line >> {lines}; sleep 0.02; done"


@pytest.mark.parametrize("hours", [HOURS, -HOURS])
async def test_no_lease_is_lost_and_no_lead_stolen(
    clocks: list[JumpingClock],
    servers: TestServers,
    database: asyncpg.Connection,
    database_url: str,
    nats_url: str,
    tmp_path: Path,
    hours: int,
) -> None:
    """One machine's clock jumps while another's is right; a task runs through all of it."""
    settings = Settings(data=tmp_path, lease_ttl_sec=LEASE_TTL_SEC, sandbox="none")
    place = Place(database_url=database_url, nats_url=nats_url)
    go, lines = tmp_path / "go", tmp_path / "lines"
    async with AsyncExitStack() as stack:
        main = running(
            *(settings, place),
            *("commands", "projector", "relay", "scheduler", "reaper", "runner"),
        )
        await stack.enter_async_context(main)
        stream = await file(settings, nats_url, clocks[0], COUNTING.format(go=go, lines=lines))
        await until(lambda: len(marks_of(lines)) or lines.exists())
        await eventually(lambda: leads(database))
        leaders = await leads(database)
        await stack.enter_async_context(running(settings, place, "relay", "scheduler", "reaper"))

        for clock, jump in ((clocks[0], hours), (clocks[1], -hours), (clocks[0], -2 * hours)):
            clock.jump(jump)
            await renewed(database)
            assert await leads(database) == leaders
        go.touch()
        await all_over(database_url, [stream])
    kinds = Counter(
        row["type"]
        for row in await database.fetch("SELECT type FROM events WHERE stream = $1", stream)
    )
    assert (kinds["task.started"], kinds["task.completed"]) == (1, 1)


async def leads(database: asyncpg.Connection) -> dict[str, str]:
    """Return who leads each role, once all roles are led."""
    rows = await database.fetch("SELECT role, holder FROM leaders")
    found = {row["role"]: row["holder"] for row in rows}
    return found if len(found) == 4 else {}


async def renewed(database: asyncpg.Connection) -> None:
    """Return once the lease of the running task, and every lead, ends later than all do now."""
    latest = await database.fetchval("SELECT max(expires_at) FROM leases")
    assert latest is not None, "the lease is gone"
    sql = "SELECT min(expires_at) > $1 FROM leases"
    await eventually(lambda: database.fetchval(sql, latest + timedelta(seconds=LEASE_TTL_SEC)))
    sql_leads = "SELECT min(expires_at) > clock_timestamp() FROM leaders"
    await eventually(lambda: database.fetchval(sql_leads))


async def file(
    settings: Settings, nats_url: str, clock: Clock, command: str, at: datetime | None = None
) -> str:
    """File a task, to start at a time or now, and return its stream; the clock is Pandar's."""
    token = tokens(settings, clock).mint("1", ["admin"], 3600)
    async with asking(nats_url, token) as asker:
        project = await insist(
            asker, subjects.command("project.create"), b'{"name":"p"}', "project"
        )
        number = int(project.id)
        create = do.CreateTask(name="t", command=command, project_id=number, scheduled_at=at)
        subject = subjects.command("task.create", number)
        told = await insist(asker, subject, msgspec.json.encode(create), str(uuid4()))
    return told.stream


async def test_a_schedule_fires_once_however_the_clock_jumps(
    clocks: list[JumpingClock],
    database: asyncpg.Connection,
    database_url: str,
    nats_url: str,
    tmp_path: Path,
) -> None:
    """Passed over, passed back and passed again, each time comes once, and none before its own."""
    settings = Settings(data=tmp_path)
    place = Place(database_url=database_url, nats_url=nats_url)
    async with running(settings, place, "commands", "projector", "relay", "scheduler"):
        clock = clocks[0]
        soon, late = (clock.now() + timedelta(hours=n) for n in (1, 8))
        first = [await file(settings, nats_url, clock, "true", soon) for _ in range(3)]
        second = await file(settings, nats_url, clock, "true", late)
        assert not await starts(database)
        clock.jump(HOURS)
        await all_started(database, first)
        clock.jump(-2 * HOURS)
        third = await file(settings, nats_url, clock, "true", clock.now() + timedelta(seconds=0.5))
        await all_started(database, [*first, third])
        clock.jump(3 * HOURS)
        await all_started(database, [*first, third, second])


async def all_started(database: asyncpg.Connection, streams: Sequence[str]) -> None:
    """Return once exactly these were asked to start, each once."""

    async def are() -> bool:
        return len(await starts(database)) >= len(streams)

    await eventually(are)
    assert await starts(database) == dict.fromkeys(streams, 1)


async def test_a_confirmation_expires_once(
    clocks: list[JumpingClock],
    database: asyncpg.Connection,
    database_url: str,
    nats_url: str,
    tmp_path: Path,
) -> None:
    """Its deadline passed over, back and again: it has expired once, and stays so."""
    roles = ("commands", "relay", "projector", "reaper")
    counted = "SELECT count(*) FROM events WHERE type = 'task.confirmation_expired'"
    async with running_api(database_url, nats_url, tmp_path, roles=roles) as api:
        clock = clocks[0]
        person = api.person("1", "admin", ttl_sec=30 * 24 * 3600.0)
        task = await person.task(await person.project(), auto_start=True)
        work = await api.claim()
        await api.gate(work, uuid4(), clock.now() + timedelta(hours=1))
        clock.jump(HOURS)
        await eventually(lambda: database.fetchval(counted))
        clock.jump(-2 * HOURS)
        clock.jump(3 * HOURS)
        await person.post(f"/tasks/{task}/cancel")
        await api.settle(person)
        assert (await person.get(f"/tasks/{task}"))["id"] == task
        assert await database.fetchval(counted) == 1
