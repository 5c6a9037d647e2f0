"""What nobody ends by themselves: lost leases, unanswered confirmations, times that have come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import msgspec
import pytest
from msgspec import Struct
from structlog.testing import capture_logs

from events import running as tell
from events.running import LeaseState
from events.task import Json
from pandar_daemon.adapters.nats.connection import NatsConnection, connect
from pandar_daemon.adapters.nats.sender import NatsSender
from pandar_daemon.adapters.nats.service import ServiceDoor
from pandar_daemon.adapters.nats.wire import NatsWire
from pandar_daemon.adapters.near import NearDoor
from pandar_daemon.adapters.postgres.leases import PgLeadership, PgLeases
from pandar_daemon.adapters.postgres.work_queue import PgWorkQueue
from pandar_daemon.services import scheduler as scheduling
from pandar_daemon.services.asking import Asker
from pandar_daemon.services.reaper import Reaper
from pandar_daemon.services.scheduler import Scheduler
from tests.support.bus import PATIENCE_SEC, nats_process, serving
from tests.support.clock import ManualClock
from tests.support.desk import OWNER, TTL_SEC, Desk, desk, problem
from tests.support.nats_process import NatsProcess
from tests.support.servers import TestServers


class Watch(Struct):
    """A process that answers on a bus, and what it takes to reap and schedule through it."""

    at: Desk
    bus: NatsConnection
    server: NatsProcess
    administrator: asyncpg.Connection

    def reaper(
        self, holder: str = "one", clock: ManualClock | None = None, asker: Asker | None = None
    ) -> Reaper:
        """Return a reaper that has just started."""
        database = self.at.log.database
        return Reaper(
            leases=PgLeases(database),
            queue=PgWorkQueue(database, clock or self.at.clock),
            leadership=PgLeadership(database),
            wire=NatsWire(self.bus),
            asker=asker or self.asker("reaper"),
            clock=clock or self.at.clock,
            holder=holder,
            lease_ttl_sec=TTL_SEC,
        )

    def scheduler(self, holder: str) -> Scheduler:
        """Return a scheduler."""
        database = self.at.log.database
        return Scheduler(
            queue=PgWorkQueue(database, self.at.clock),
            leadership=PgLeadership(database),
            asker=self.asker("scheduler"),
            clock=self.at.clock,
            holder=holder,
        )

    def asker(self, service: str) -> Asker:
        """Return how a service of ours asks."""
        return Asker(NatsSender(self.bus), lambda: self.at.token(f"system:{service}"))

    async def given(self, metadata: Json | None = None, *, begun: bool = True) -> tell.Assignment:
        """Return the first execution of a new task; its lease has expired."""
        await self.at.task(await self.at.project(), metadata=metadata or {})
        await self.at.settle()
        work = (await self.at.claim())[0]
        if begun:
            assert await self.at.renew(work) == [LeaseState.HELD]
        await self.expire()
        return work

    async def expire(self) -> None:
        """Let all leases expire, as time would."""
        await self.administrator.execute("UPDATE leases SET expires_at = now() - interval '1 s'")

    async def graceful(self, reaper: Reaper) -> None:
        """Let a reaper look after its grace has passed."""
        self.at.clock.advance(TTL_SEC + 1)
        await reaper._look()


@pytest.fixture
async def watch(database_url: str, clock: ManualClock) -> AsyncIterator[Watch]:
    """Return all that, on a bus of its own whose server may be killed."""
    administrator = await asyncpg.connect(database_url)
    async with (
        nats_process() as server,
        connect(server.url, clock, "test", probe_sec=0.2) as bus,
        desk(database_url, clock) as at,
    ):
        await bus.wait_up()
        async with serving(ServiceDoor(bus), at.endpoint.handle):
            yield Watch(at, bus, server, administrator)
    administrator.terminate()


# --- leases ----------------------------------------------------------------------------------


async def test_what_never_began_is_queued_again_and_not_counted(watch: Watch) -> None:
    """Given to a runner that vanished before its first renewal, it costs no retry and no pause."""
    work = await watch.given({"max_retries": 0}, begun=False)
    await watch.graceful(watch.reaper())
    told = await watch.at.history(work.task_id)
    assert [event.type for event in told[-2:]] == ["task.execution_lost", "task.retried"]
    assert msgspec.json.decode(told[-2].data)["begun"] is False
    assert not msgspec.json.decode(told[-1].data).get("counted")
    assert told[-1].actor == "system:reaper"
    await watch.at.settle()
    again = (await watch.at.claim())[0]
    assert (again.task_id, again.attempt, again.epoch) == (work.task_id, 2, work.epoch + 1)


@pytest.mark.parametrize(
    ("metadata", "types"),
    [
        ({"on_lost": "retry", "max_retries": 1}, ["task.execution_lost", "task.retried"]),
        (
            {"on_lost": "retry", "max_retries": 0},
            ["task.execution_lost", "task.confirmation_requested"],
        ),
        (
            {"on_lost": "confirm", "max_retries": 3},
            ["task.execution_lost", "task.confirmation_requested"],
        ),
        ({"on_lost": "fail", "max_retries": 3}, ["task.execution_lost", "task.failed"]),
    ],
)
async def test_what_had_begun_goes_the_way_its_owner_chose(
    watch: Watch, metadata: Json, types: list[str]
) -> None:
    """Retried and counted, put before a person, or failed; its runner can report no more."""
    work = await watch.given(metadata)
    await watch.graceful(watch.reaper())
    assert (await watch.at.told(work.task_id))[-2:] == types
    assert await watch.at.renew(work) == [LeaseState.LOST]
    assert (await problem(watch.at.finish(work))).status == 409
    assert (await watch.at.told(work.task_id))[-2:] == types


async def test_nothing_is_reaped_at_the_start(watch: Watch) -> None:
    """Whoever could not renew while we were away gets one full lease time."""
    work = await watch.given()
    reaper = watch.reaper()
    await reaper._look()
    watch.at.clock.advance(TTL_SEC)
    await reaper._look()
    assert (await watch.at.told(work.task_id))[-1] == "task.started"
    watch.at.clock.advance(0.1)
    await reaper._look()
    assert "task.execution_lost" in await watch.at.told(work.task_id)


async def test_nothing_is_reaped_after_the_bus_was_away(watch: Watch) -> None:
    """While it is away and one lease time after it came back, runners could not renew."""
    work = await watch.given()
    reaper = watch.reaper()
    watch.at.clock.advance(TTL_SEC + 1)
    await watch.server.kill()
    async with asyncio.timeout(PATIENCE_SEC):
        while watch.bus.up_since is not None:
            await PgLeases(watch.at.log.database).expired()
    await reaper._look()
    await watch.server.start()
    await watch.bus.wait_up()
    await reaper._look()
    watch.at.clock.advance(TTL_SEC)
    await reaper._look()
    assert (await watch.at.told(work.task_id))[-1] == "task.started"
    await watch.graceful(reaper)
    assert "task.execution_lost" in await watch.at.told(work.task_id)


async def test_nothing_is_reaped_after_the_database_was_away(
    watch: Watch, servers: TestServers
) -> None:
    """One failed look at the database is enough: everybody gets a lease time from then on."""
    work = await watch.given()
    reaper = watch.reaper()
    watch.at.clock.advance(TTL_SEC + 1)
    await servers.kill_postgres()
    with capture_logs() as logs:
        await reaper._look()
    assert [each["event"] for each in logs] == ["reaper.waiting"]
    await servers.start_postgres()
    await reaper._look()
    assert (await watch.at.told(work.task_id))[-1] == "task.started"
    await watch.graceful(reaper)
    assert "task.execution_lost" in await watch.at.told(work.task_id)


async def test_only_the_leader_reaps_and_a_new_one_begins_with_grace(watch: Watch) -> None:
    """Who waits for the lead holds nothing against a lease the moment it gets it."""
    work = await watch.given()
    leader, waiting = watch.reaper("one"), watch.reaper("two")
    await leader._look()
    await watch.graceful(waiting)
    await PgLeadership(watch.at.log.database).resign("reaper", "one")
    await waiting._look()
    assert (await watch.at.told(work.task_id))[-1] == "task.started"
    await watch.graceful(waiting)
    assert "task.execution_lost" in await watch.at.told(work.task_id)


async def test_a_renewal_in_the_last_moment_counts(watch: Watch) -> None:
    """A lease renewed after it was seen expired stays; the reaper goes on with the others."""
    work = await watch.given()
    reaper = watch.reaper()
    await reaper._look()
    ((lease,), _) = await PgLeases(watch.at.log.database).expired()
    assert await watch.at.renew(work) == [LeaseState.HELD]
    with capture_logs() as logs:
        await reaper._lose(lease)
    refused = [each for each in logs if each["event"] == "reaper.refused"]
    assert [each["reason"] for each in refused] == ["its runner has renewed the lease"]
    assert (await watch.at.told(work.task_id))[-1] == "task.started"
    assert (await watch.at.finish(work)).status == "completed"


# --- confirmations ---------------------------------------------------------------------------


async def _asked(watch: Watch, work: tell.Assignment) -> None:
    ask = tell.AskConfirmation(
        task_id=work.task_id,
        execution_id=work.execution_id,
        epoch=work.epoch,
        confirmation_id=watch.at.clock.new_id(),
        gate="git_push",
        card={"command": "git push"},
        expires_at=watch.at.clock.now() + timedelta(seconds=60),
    )
    await watch.at.run("ask", ask)
    await watch.at.settle()


async def test_a_confirmation_nobody_decides_expires_once(watch: Watch) -> None:
    """At its deadline and not before, by one event, however often the reaper looks."""
    work = await watch.given()
    await _asked(watch, work)
    reaper = watch.reaper()
    watch.at.clock.advance(59)
    await reaper._look()
    assert (await watch.at.told(work.task_id))[-1] == "task.confirmation_requested"
    watch.at.clock.advance(1)
    await reaper._look()
    await reaper._look()
    watch.at.clock.advance(60)
    await reaper._look()
    told = await watch.at.told(work.task_id)
    assert told.count("task.confirmation_expired") == 1


async def test_a_confirmation_expires_while_the_bus_is_away(watch: Watch) -> None:
    """Where who answers is in the same process: nobody may decide it after its deadline."""
    work = await watch.given()
    await _asked(watch, work)
    near = NearDoor(NatsSender(watch.bus))
    asker = Asker(near, lambda: watch.at.token("system:reaper"))
    async with serving(near, watch.at.endpoint.handle):
        await watch.server.kill()
        watch.at.clock.advance(60)
        await watch.reaper(asker=asker)._look()
    told = await watch.at.told(work.task_id)
    assert told[-1] == "task.confirmation_expired"
    assert "task.execution_lost" not in told


async def test_a_clock_ahead_of_ours_ends_no_confirmation_and_blocks_none(
    watch: Watch, clock: ManualClock
) -> None:
    """Asked too early it is refused, and asked again later: the refusal is not for ever."""
    work = await watch.given()
    await _asked(watch, work)
    ahead = ManualClock(clock.now() + timedelta(seconds=70))
    reaper = watch.reaper(clock=ahead)
    with capture_logs() as logs:
        await reaper._look()
    assert "reaper.refused" in {each["event"] for each in logs}
    assert (await watch.at.told(work.task_id))[-1] == "task.confirmation_requested"
    for each in (ahead, clock):
        each.advance(60)
    await reaper._look()
    assert "task.confirmation_expired" in await watch.at.told(work.task_id)


# --- time ------------------------------------------------------------------------------------


async def test_a_due_task_is_started_once_by_two_schedulers(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both believe they lead: the task is started once, when its time has come."""
    monkeypatch.setattr(scheduling, "LEAD_SEC", 0.0)
    at = watch.at
    due = at.clock.now() + timedelta(seconds=60)
    task = await at.task(await at.project(), scheduled_at=due)
    await at.settle()
    both = [watch.scheduler("one"), watch.scheduler("two")]
    await asyncio.gather(*(each._look() for each in both))
    assert await at.told(task) == ["task.created"]
    at.clock.advance(60)
    await asyncio.gather(*(each._look() for each in both))
    await both[0]._look()
    assert await at.told(task) == ["task.created", "task.start_requested"]
    assert (await at.history(task))[-1].actor == "system:scheduler"


async def test_a_task_cancelled_before_its_time_is_not_started(watch: Watch) -> None:
    """A start that comes too late is refused, and the scheduler goes on with the others."""
    at = watch.at
    due = at.clock.now() + timedelta(seconds=60)
    project = await at.project()
    cancelled, good = [await at.task(project, scheduled_at=due) for _ in range(2)]
    await at.settle()
    await at.ask(OWNER, "task.cancel", target=cancelled)
    at.clock.advance(60)
    await watch.scheduler("one")._look()
    assert (await at.told(cancelled))[-1] == "task.cancelled"
    assert (await at.told(good))[-1] == "task.start_requested"


async def test_a_service_that_stops_gives_its_lead_up(watch: Watch) -> None:
    """The next process need not wait for the lead to expire."""
    leadership = PgLeadership(watch.at.log.database)
    for role, service in (("reaper", watch.reaper()), ("scheduler", watch.scheduler("one"))):
        running = asyncio.create_task(service.run())
        async with asyncio.timeout(PATIENCE_SEC):
            while await watch.administrator.fetchval("SELECT count(*) FROM leaders") == 0:
                assert not running.done()
        running.cancel()
        await asyncio.wait({running})
        assert await leadership.acquire(role, "next", 10.0)
        await leadership.resign(role, "next")
