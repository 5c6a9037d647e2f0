"""The relay on a real log and a real bus: every event once, in order, at its own position."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest
from msgspec import Struct
from structlog.testing import capture_logs

from events import subjects
from events import task as did
from events.envelope import Recorded
from pandar_daemon.adapters.nats.connection import NatsConnection
from pandar_daemon.adapters.nats.events import NatsEventStream
from pandar_daemon.adapters.nats.jetstream import JetStream
from pandar_daemon.adapters.nats.live import NatsLive
from pandar_daemon.adapters.nats.wire import NatsWire
from pandar_daemon.adapters.postgres.leases import PgLeadership
from pandar_daemon.config import ConfigError, Settings
from pandar_daemon.ports import Head
from pandar_daemon.services import relay as service
from pandar_daemon.services.bell import Bell
from pandar_daemon.services.relay import Relay
from pandar_daemon.telemetry import Metrics
from pandar_daemon.wiring import advance_epoch
from tests.support.bus import PATIENCE_SEC, connected, nats_process, recorded
from tests.support.clock import ManualClock
from tests.support.log import Log, open_log, running
from tests.support.servers import TestServers
from tests.support.waiting import until


class Site(Struct):
    """A relay on a log and a bus; `bell` tells it to look."""

    log: Log
    bus: NatsConnection
    bell: Bell
    live: NatsLive
    relay: Relay
    metrics: Metrics
    clock: ManualClock

    def measured(self, name: str) -> float:
        """Return a metric."""
        value = self.metrics.registry.get_sample_value(f"pandar_{name}")
        assert value is not None
        return value

    async def fill(self, events: int, *, streams: int = 7) -> None:
        """Append events to some tasks, and ring."""
        for n in range(events):
            await self.log.add(f"task-{n % streams + 1}", did.StartRequested(reason=f"žluť {n}"))
        self.bell.ring(0)

    async def on_bus(self, epoch: int = 1) -> list[Recorded]:
        """Return everything the stream of an epoch has."""
        stream, found = NatsEventStream(self.bus), list[Recorded]()
        while batch := await stream.stored(epoch, after=len(found), limit=1_000):
            found += batch
        return found

    async def relayed(self, epoch: int = 1) -> None:
        """Return once the stream ends where the log ends."""
        head = await self.log.store.head()
        async with asyncio.timeout(PATIENCE_SEC):
            while await self.last(epoch) < head.position:
                self.bell.ring(0)

    async def made_good(self) -> None:
        """Return once the stream ends where the log ends, without anything that happens."""
        head = await self.log.store.head()
        async with asyncio.timeout(PATIENCE_SEC):
            while await self.last() != head.position:
                await self.bus.echo(timeout_sec=PATIENCE_SEC)

    async def last(self, epoch: int = 1) -> int:
        """Return the last sequence of a stream, 0 when there is none."""
        return await NatsEventStream(self.bus).position(Head(0, epoch))

    async def delete_stream(self) -> None:
        """Lose the stream, as an administrator's mistake would."""
        await JetStream(self.bus).api(f"STREAM.DELETE.{subjects.events_stream(1)}", {})

    async def assert_same(self, epoch: int = 1) -> None:
        """Assert that the stream is the log: every event, in order, sequence = position."""
        assert await self.on_bus(epoch) == await self.log.everything()
        assert await self.last(epoch) == (await self.log.store.head()).position


@asynccontextmanager
async def site(
    database_url: str, nats_url: str, holder: str = "one", *, lazily: bool = True
) -> AsyncIterator[Site]:
    """Yield a relay, not running; its stream is kept as on a server of our own, or safely."""
    async with open_log(database_url) as log, connected(nats_url, probe_sec=0.2) as bus:
        bell, metrics, clock = Bell(NatsWire(bus)), Metrics(), ManualClock()
        live = NatsLive(bus)
        relay = Relay(
            store=log.store,
            stream=NatsEventStream(bus, lazily=lazily),
            told=live,
            leadership=PgLeadership(log.database),
            bell=bell,
            clock=clock,
            metrics=metrics,
            holder=holder,
        )
        yield Site(log, bus, bell, live, relay, metrics, clock)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "PAUSE_SEC", 0.01)


@pytest.fixture(params=[False, True], ids=["safely", "lazily"])
async def at(
    database_url: str, nats_url: str, request: pytest.FixtureRequest
) -> AsyncIterator[Site]:
    """Return a relay, not running."""
    async with site(database_url, nats_url, lazily=request.param) as opened:
        yield opened


async def test_every_event_is_published_in_order(at: Site) -> None:
    """What was there before and what comes while it runs stands at its own position."""
    await at.fill(1_200)
    async with running(at.relay.run()):
        await at.relayed()
        await at.fill(50)
        await at.relayed()
        await until(lambda: at.measured("log_position") == 1_250)
    assert at.measured("relay_published_total") == 1_250
    await at.assert_same()


async def test_a_subscriber_sees_cloud_events(at: Site, nats_url: str) -> None:
    """With nats-py alone: CloudEvents 1.0 in binary mode, whose body is the event's data."""
    await at.fill(3, streams=1)
    async with running(at.relay.run()):
        await at.relayed()
    client = await nats.connect(nats_url)
    try:
        subscription = await client.jetstream().subscribe(
            subjects.events_of_task(1, 1), ordered_consumer=True
        )
        seen = [await subscription.next_msg(PATIENCE_SEC) for _ in range(3)]
    finally:
        await client.close()
    for msg, event in zip(seen, await at.log.everything(), strict=True):
        assert msg.headers is not None
        assert msg.subject == "pandar.v1.evt.task.start_requested.1.1"
        assert msg.metadata.sequence.stream == event.position
        assert msg.data == bytes(event.data)
        assert msg.headers["ce-specversion"] == "1.0"
        assert msg.headers["ce-id"] == msg.headers["Nats-Msg-Id"] == str(event.event_id)
        assert msg.headers["ce-type"] == "dev.pandar.task.start_requested.v1"
        assert msg.headers["ce-source"] == "/pandar/1"
        assert msg.headers["ce-subject"] == "task-1"
        assert msg.headers["ce-sequence"] == f"{event.position:020}"
        assert msg.headers["Pandar-Version"] == str(event.version)


async def test_two_relays_at_once_publish_once(
    at: Site, database_url: str, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both believe they lead, as their leases expire at once: the fence lets one message pass."""
    monkeypatch.setattr(service, "LEAD_SEC", 0.0)
    monkeypatch.setattr(service, "BATCH", 50)
    async with site(database_url, nats_url, "other") as other:
        await at.fill(600)
        async with running(at.relay.run(), other.relay.run()):
            await at.relayed()
            await at.fill(200)
            await at.relayed()
        await at.assert_same()


async def test_one_relay_leads_and_the_other_takes_over_in_order(
    at: Site, database_url: str, nats_url: str
) -> None:
    """While one leads the other publishes nothing; once it has stopped, the other goes on."""
    async with site(database_url, nats_url, "other") as other:
        async with running(at.relay.run()):
            await at.fill(10)
            await at.relayed()
            async with running(other.relay.run()):
                await at.fill(10)
                await at.relayed()
        assert other.measured("relay_published_total") == 0
        async with running(other.relay.run()):
            await at.fill(10)
            await other.relayed()
            await until(lambda: other.measured("relay_published_total") == 10)
        await at.assert_same()


async def test_who_follows_hears_whichever_relay_leads(
    at: Site, database_url: str, nats_url: str
) -> None:
    """The one of its own process tells it, the other by the bus: each event, in order."""
    async with site(database_url, nats_url, "other") as other, at.live.follow() as events:
        for leader in (at, other, at):
            async with running(leader.relay.run()):
                await at.fill(5)
                await leader.relayed()
        async with asyncio.timeout(PATIENCE_SEC):
            heard = [await anext(events) for _ in range(15)]
        assert heard == await at.log.everything()


async def test_who_follows_is_not_told_what_is_long_past(
    at: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a lost stream is filled from the first event on, only the last ones are told."""
    monkeypatch.setattr(service, "TOLD_MAX", 10)
    monkeypatch.setattr(service, "BATCH", 5)
    await at.fill(40)
    async with at.live.follow() as events, running(at.relay.run()):
        await at.relayed()
        async with asyncio.timeout(PATIENCE_SEC):
            assert [(await anext(events)).position for _ in range(10)] == list(range(31, 41))
    await at.assert_same()


async def test_a_killed_bus_loses_and_doubles_nothing(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nats-server killed amid publishing and started again ends with the log, as it is."""
    monkeypatch.setattr(service, "BATCH", 100)
    async with nats_process() as server, site(database_url, server.url) as at:
        await at.fill(1_500)
        async with running(at.relay.run()):
            for part in (1, 2, 3):
                async with asyncio.timeout(PATIENCE_SEC):
                    while at.measured("bus_position") < part * 200:
                        await at.last()
                await server.kill()
                await server.start()
                await at.bus.wait_up()
            await at.relayed()
        await at.assert_same()


async def test_a_lost_stream_is_rebuilt_from_the_first_event(at: Site) -> None:
    """Deleted under a running relay, it is whole again with the next event."""
    async with running(at.relay.run()):
        await at.fill(700)
        await at.relayed()
        await at.delete_stream()
        await at.fill(1)
        await at.relayed()
    await at.assert_same()


async def test_a_lost_stream_is_missed_even_when_nothing_happens(at: Site) -> None:
    """The audit finds it within a minute, without any new event."""
    async with running(at.relay.run()):
        await at.fill(20)
        await at.relayed()
        await at.delete_stream()
        at.clock.advance(service.AUDIT_SEC)
        await at.relayed()
    await at.assert_same()


async def test_what_was_acknowledged_and_lost_is_missed_once_nothing_comes(at: Site) -> None:
    """As when the disk was full: looked at once more within a second, long before the audit."""
    async with running(at.relay.run()):
        await at.fill(20)
        await at.relayed()
        await at.delete_stream()
        await at.made_good()
    await at.assert_same()


async def test_what_a_crash_of_the_bus_took_is_there_again_with_the_bus(
    database_url: str,
) -> None:
    """Nothing happens, and nobody asks: that the connection is another one is enough."""
    async with (
        nats_process() as server,
        site(database_url, server.url) as at,
        running(at.relay.run()),
    ):
        await at.fill(20)
        await at.relayed()
        await server.kill()
        shutil.rmtree(server.store / "jetstream")
        await server.start()
        await at.bus.wait_up()
        await at.made_good()
        await at.assert_same()


def _cut(file: Path) -> None:
    with file.open("r+b") as block:
        block.truncate(file.stat().st_size - 3_000)


def _blank(file: Path) -> None:
    size = file.stat().st_size
    with file.open("r+b") as block:
        block.seek(size - 3_000)
        block.write(bytes(3_000))


@pytest.mark.parametrize("tear", [_cut, _blank])
async def test_what_a_power_cut_tore_from_the_stream_is_filled_again(
    database_url: str, tear: Callable[[Path], None]
) -> None:
    """The end of its file missing, or of zeros: whole events before it are kept, the rest comes."""
    async with (
        nats_process() as server,
        site(database_url, server.url) as at,
        running(at.relay.run()),
    ):
        await at.fill(50)
        await at.relayed()
        (stream,) = server.store.rglob(subjects.events_stream(1))
        (block,) = (stream / "msgs").glob("*.blk")
        await until(lambda: block.stat().st_size > 50 * 300)  # some of it at least is written
        await server.kill()
        tear(block)
        await server.start()
        await at.bus.wait_up()
        await at.made_good()
        await until(lambda: at.measured("relay_published_total") > 50)
        assert at.measured("relay_published_total") < 100
        await at.fill(5)
        await at.relayed()
        await at.assert_same()


async def _run_ahead(at: Site, log: int, bus: int) -> None:
    """Leave the log at one position and the stream further: Postgres came from a backup."""
    await at.fill(log)
    stream = NatsEventStream(at.bus)
    await stream.open(1)
    await stream.publish(await at.log.everything())
    await stream.publish([recorded(n) for n in range(log + 1, bus + 1)])


async def test_a_stream_ahead_of_the_log_stops_the_relay(at: Site) -> None:
    """It publishes nothing, raises the alarm once, and says how far the stream is ahead."""
    await _run_ahead(at, 5, 8)
    with capture_logs() as logs:
        async with running(at.relay.run()):
            await until(lambda: at.relay.ahead_by == 3)
            assert at.measured("bus_position") == 8
            assert at.measured("log_position") == 5
            assert at.measured("bus_ahead_events") == 3
            await at.fill(1)
            await until(lambda: at.relay.ahead_by == 2)
    assert await at.last() == 8
    alarms = [each for each in logs if each["event"] == "relay.stream_ahead_of_log"]
    assert [(each["log_level"], each["log"]) for each in alarms] == [("error", 5), ("error", 6)]
    assert "pandar epoch advance" in alarms[0]["hint"]


async def test_a_stream_of_another_history_stops_the_relay(at: Site) -> None:
    """A restored log that has grown past the stream does not go on with a foreign history."""
    await _run_ahead(at, 5, 8)
    await at.fill(4)
    with capture_logs() as logs:
        async with running(at.relay.run()):
            await until(lambda: at.relay.diverged)
            await at.fill(1)
            await until(lambda: at.measured("log_position") == 10)
            assert at.measured("bus_diverged") == 1
    assert await at.last() == 8
    alarms = [each for each in logs if each["event"] == "relay.stream_differs_from_log"]
    assert [(each["log_level"], each["position"]) for each in alarms] == [("error", 8)]


async def test_no_epoch_without_need(
    at: Site, database_url: str, nats_url: str, tmp_path: Path
) -> None:
    """Where the bus has nothing that the log has not, nobody is asked to start anew."""
    await _run_ahead(at, 5, 5)
    settings = Settings(data=tmp_path, database_url=database_url, nats_url=nats_url)
    with pytest.raises(ConfigError, match="no new epoch is needed"):
        await advance_epoch(settings)


async def test_a_new_epoch_goes_on(
    at: Site, database_url: str, nats_url: str, tmp_path: Path
) -> None:
    """By one command a new stream is filled from the first event; the old one is kept as it was."""
    bus = 8
    await _run_ahead(at, 5, bus)
    before = await at.on_bus()
    settings = Settings(data=tmp_path, database_url=database_url, nats_url=nats_url)
    async with running(at.relay.run()):
        await until(lambda: at.relay.ahead_by == bus - 5)
        assert await advance_epoch(settings) == 2
        await at.fill(5)
        await at.relayed(2)
    await at.assert_same(2)
    assert await at.on_bus(1) == before
    assert at.relay.ahead_by == at.measured("bus_ahead_events") == 0


async def test_an_away_database_is_waited_for(at: Site, servers: TestServers) -> None:
    """A relay whose database is killed publishes on where it was, once it is back."""
    async with running(at.relay.run()):
        await at.fill(10)
        await at.relayed()
        with capture_logs() as logs:
            await servers.kill_postgres()
            await until(lambda: "relay.waiting" in {each["event"] for each in logs})
        await servers.start_postgres()
        await at.fill(10)
        await at.relayed()
    await at.assert_same()
