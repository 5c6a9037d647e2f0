"""The log on the bus: every event once, in order, its sequence its position."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import msgspec
import nats
import nats.errors
import pytest
from structlog.testing import capture_logs

from events import subjects
from events.envelope import Recorded
from pandar_daemon.adapters.nats import cloudevents, streams
from pandar_daemon.adapters.nats.connection import NatsConnection
from pandar_daemon.adapters.nats.events import TOGETHER_MAX_BYTES, TOGETHER_MIN, NatsEventStream
from pandar_daemon.adapters.nats.jetstream import JetStream, JetStreamRefused, Outgoing
from pandar_daemon.adapters.nats.jetstream_api import ConsumerConfig
from pandar_daemon.adapters.nats.live import NatsLive
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import StreamBehind
from tests.support.bus import (
    PATIENCE_SEC,
    connected,
    events,
    nats_process,
    recorded,
    renewal,
)
from tests.support.waiting import until

pytestmark = pytest.mark.servers

STREAM = subjects.events_stream(1)
BOTH = pytest.mark.parametrize("lazily", [False, True], ids=["safely", "lazily"])


async def stored(connection: NatsConnection, epoch: int) -> list[Recorded]:
    """Return all events of an epoch's stream, checking that sequence is position."""
    found: list[Recorded] = []
    while True:
        batch = await JetStream(connection).direct(
            subjects.events_stream(epoch), f"{subjects.EVENTS}.>", seq=len(found) + 1, batch=500
        )
        for msg in batch:
            assert msg.headers is not None
            event = cloudevents.decode(msg.headers, msg.data)
            assert msg.headers["Nats-Sequence"] == str(event.position)
            assert msg.headers["Nats-Subject"] == subjects.event(event)
            found.append(event)
        if len(batch) < 500:
            return found


@BOTH
async def test_what_is_published_is_stored_whole_and_in_order(
    nats_url: str,
    lazily: bool,
) -> None:
    """A thousand events in one batch: equal to what the log holds, and told live as well."""
    async with connected(nats_url) as connection:
        stream = NatsEventStream(connection, lazily=lazily)
        assert await stream.open(1) == 0
        async with NatsLive(connection).follow() as live, asyncio.timeout(PATIENCE_SEC):
            assert await stream.publish(events(1, 1000)) == 1000
            assert [await anext(live) for _ in range(1000)] == events(1, 1000)
        assert await stored(connection, 1) == events(1, 1000)
        assert await stream.open(1) == 1000


@BOTH
async def test_a_second_stale_relay_is_refused(
    nats_url: str,
    lazily: bool,
) -> None:
    """Old positions, skipped ones and ones already there in another guise all find the fence."""
    async with connected(nats_url) as one, connected(nats_url) as two:
        stream, stale = NatsEventStream(one, lazily=lazily), NatsEventStream(two, lazily=lazily)
        await stream.open(1)
        await stale.open(1)
        await stream.publish(events(1, 10))
        for batch in (events(5, 8), events(1, 3), events(12, 14), [recorded(10, task=7)]):
            with pytest.raises(StreamBehind):
                await stale.publish(batch)
        assert await stored(one, 1) == events(1, 10)
        assert await stale.open(1) == 10
        assert await stale.publish(events(11, 12)) == 12


async def batches(connection: NatsConnection) -> list[str | None]:
    """Return for each stored event the id of the batch it was stored with, if it was."""
    found = await JetStream(connection).direct(
        subjects.events_stream(1), f"{subjects.EVENTS}.>", seq=1, batch=500
    )
    return [(msg.headers or {}).get("Nats-Batch-Id") for msg in found]


async def test_many_are_stored_together_or_not_at_all(nats_url: str) -> None:
    """A batch that does not follow leaves nothing behind, not even the part that would fit."""
    async with connected(nats_url) as one, connected(nats_url) as two:
        stream, stale = NatsEventStream(one), NatsEventStream(two)
        await stream.open(1)
        await stale.open(1)
        assert await stream.publish(events(1, TOGETHER_MIN)) == TOGETHER_MIN
        for first in (1, TOGETHER_MIN, TOGETHER_MIN + 2):
            with pytest.raises(StreamBehind):
                await stale.publish(events(first, first + 99))
        assert await stored(one, 1) == events(1, TOGETHER_MIN)
        (batch,) = set(await batches(one))
        assert batch is not None


async def test_few_are_stored_one_by_one(nats_url: str) -> None:
    """Each as soon as it can: the ones before a refused one are there."""
    async with connected(nats_url) as connection:
        stream = NatsEventStream(connection)
        await stream.open(1)
        await stream.publish(events(1, TOGETHER_MIN - 1))
        assert set(await batches(connection)) == {None}


async def test_a_server_that_stores_nothing_together_gets_them_one_by_one(nats_url: str) -> None:
    """Refused, as by a server too old for it, a batch goes out again, fenced one by one."""
    async with connected(nats_url) as connection:
        stream, js = NatsEventStream(connection), JetStream(connection)
        await stream.open(1)
        plain = msgspec.structs.replace(streams.events(1, 1), allow_atomic=False)
        await js.api(f"STREAM.UPDATE.{plain.name}", plain)
        with capture_logs() as logs:
            assert await stream.publish(events(1, 100)) == 100
            assert await stream.publish(events(101, 200)) == 200
        assert [each["event"] for each in logs] == ["events.not_together"]
        assert set(await batches(connection)) == {None}
        assert await stored(connection, 1) == events(1, 200)


async def test_kept_lazily_all_go_out_at_once_and_two_are_acknowledged(nats_url: str) -> None:
    """The last is stored only if all before it are; none was in a batch."""
    async with connected(nats_url) as connection:
        stream, js = NatsEventStream(connection, lazily=True), JetStream(connection)
        await stream.open(1)
        assert await stream.publish(events(1, 100)) == 100
        assert set(await batches(connection)) == {None}
        items = [Outgoing(subject=f"pandar.v1.evt.x.{n}", body=b"", headers={}) for n in range(5)]
        assert [ack.seq for ack in await js.store_in_turn(items)] == [101, 105]
        assert [ack.seq for ack in await js.store_in_turn(items[:2])] == [106, 107]
        assert [ack.seq for ack in await js.store_in_turn(items[:1])] == [108]


async def test_what_cannot_be_stored_is_said_by_the_first_that_is_not(nats_url: str) -> None:
    """It breaks the chain where it stands; begun there, the server's own reason is heard."""
    async with connected(nats_url) as connection:
        stream, js = NatsEventStream(connection, lazily=True), JetStream(connection)
        await stream.open(1)
        config = msgspec.to_builtins(streams.events(1, 1, lazily=True))
        await js.api("STREAM.UPDATE.PANDAR_EVENTS_1", {**config, "max_msg_size": 2_000})
        large = msgspec.structs.replace(recorded(3), data=msgspec.Raw(b'"%s"' % (b"x" * 2_000)))
        with pytest.raises(StreamBehind):
            await stream.publish([*events(1, 2), large, *events(4, 5)])
        with pytest.raises(JetStreamRefused, match="message size exceeds maximum"):
            await stream.publish([large, *events(4, 5)])
        assert await stored(connection, 1) == events(1, 2)


async def test_a_stream_that_ends_elsewhere_than_it_says_is_told_of(nats_url: str) -> None:
    """Refused right after its last event, it is no other relay: that is what a full disk does."""
    async with connected(nats_url) as connection:
        stream, other = (NatsEventStream(connection, lazily=True) for _ in range(2))
        await stream.open(1)
        await other.open(1)
        await other.publish(events(1, 5))
        with pytest.raises(StreamBehind):
            await stream.publish([recorded(1, task=7)])
        assert await stream.open(1) == 5, "another relay was quicker, as may be"
        assert connection.stalls.longest_sec == 0
        refused = msgspec.structs.replace(recorded(6), event_id=recorded(3).event_id)
        with pytest.raises(StreamBehind):
            await stream.publish([refused])
        with pytest.raises(Unavailable, match="takes nothing that follows"):
            await stream.open(1)
        assert connection.stalls.longest_sec > 0
        assert await stream.open(1) == 5
        assert await stream.publish(events(6, 7)) == 7
        assert connection.stalls.longest_sec == 0


@pytest.mark.parametrize("lazily", [False, True], ids=["from lazily", "from safely"])
async def test_how_a_stream_is_kept_is_settled_when_it_is_made(
    nats_url: str,
    lazily: bool,
) -> None:
    """Who would have it otherwise goes on with what is there, and retires it, too."""
    async with connected(nats_url) as connection:
        was = NatsEventStream(connection, lazily=not lazily)
        now = NatsEventStream(connection, lazily=lazily)
        await was.open(1)
        await was.publish(events(1, 3))
        assert await now.open(1) == 3
        assert await now.publish(events(4, 50)) == 50
        assert await now.open(2) == 0
        assert await now.publish(events(1, 1)) == 1
        assert await stored(connection, 1) == events(1, 50)


async def test_large_events_are_stored_in_several_batches(nats_url: str) -> None:
    """No more is sent at once than the server or our own memory should have to keep."""
    large = [
        msgspec.structs.replace(each, data=msgspec.Raw(b'{"x":"%s"}' % (b"x" * 130_000)))
        for each in events(1, 200)
    ]
    async with connected(nats_url) as connection:
        stream = NatsEventStream(connection)
        await stream.open(1)
        assert await stream.publish(large) == 200
        assert [e.position for e in await stored(connection, 1)] == list(range(1, 201))
        together = set(await batches(connection)) - {None}
        assert len(together) >= 200 * 130_000 // TOGETHER_MAX_BYTES


@BOTH
async def test_repeating_an_ambiguous_batch_stores_nothing_twice(
    nats_url: str,
    lazily: bool,
) -> None:
    """After a publish whose end is unknown, opening tells where to go on."""
    async with connected(nats_url) as connection:
        stream = NatsEventStream(connection, lazily=lazily)
        await stream.open(1)
        publishing = asyncio.create_task(stream.publish(events(1, 2000)))
        async with NatsLive(connection).follow() as live, asyncio.timeout(PATIENCE_SEC):
            await anext(live)
            publishing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await publishing
            await connection.echo(timeout_sec=PATIENCE_SEC)
            last = await stream.open(1)
            assert 0 < last <= 2000
            with pytest.raises(StreamBehind):
                await stream.publish(events(last, last))
            await stream.publish(events(last + 1, 2000))
        assert await stored(connection, 1) == events(1, 2000)


@BOTH
async def test_a_new_epoch_begins_at_one_and_the_old_one_keeps_its_events(
    nats_url: str,
    lazily: bool,
) -> None:
    """A restored log goes on in a stream of its own; a relay of the old epoch is refused."""
    async with connected(nats_url) as connection:
        old, new = (
            NatsEventStream(connection, lazily=lazily),
            NatsEventStream(connection, lazily=lazily),
        )
        await old.open(1)
        await old.publish(events(1, 5))
        assert await new.open(2) == 0
        assert await new.publish(events(1, 3)) == 3
        with pytest.raises(Unavailable):
            await old.publish(events(6, 6))
        with pytest.raises(Unavailable, match="epoch 2"):
            await old.open(1)
        assert await stored(connection, 1) == events(1, 5)
        assert await stored(connection, 2) == events(1, 3)


@BOTH
async def test_a_lost_stream_is_rebuilt_from_the_log(
    nats_url: str,
    lazily: bool,
) -> None:
    """The stream gone, opening says 0 and takes everything again."""
    async with connected(nats_url) as connection:
        stream = NatsEventStream(connection, lazily=lazily)
        await stream.open(1)
        await stream.publish(events(1, 20))
        await JetStream(connection).api(f"STREAM.DELETE.{subjects.events_stream(1)}", {})
        with pytest.raises(Unavailable):
            await stream.publish(events(21, 22))
        assert await stream.open(1) == 0
        assert await stream.publish(events(1, 22)) == 22
        assert await stored(connection, 1) == events(1, 22)


@BOTH
async def test_a_changed_configuration_is_set_right(
    nats_url: str,
    lazily: bool,
) -> None:
    """What an administrator changed by hand is as we want it after the next start."""
    async with connected(nats_url) as connection:
        stream, js = NatsEventStream(connection, lazily=lazily), JetStream(connection)
        await js.api(
            "STREAM.CREATE.PANDAR_EVENTS_1",
            {"name": "PANDAR_EVENTS_1", "subjects": ["pandar.v1.evt.>"], "max_age": 10**12},
        )
        assert await stream.open(1) == 0
        await stream.publish(events(1, 3))
        async with NatsLive(connection).follow() as live, asyncio.timeout(PATIENCE_SEC):
            await stream.publish(events(4, 4))
            assert await anext(live) == recorded(4)


@BOTH
async def test_events_cannot_be_deleted_or_purged(
    nats_url: str,
    lazily: bool,
) -> None:
    """Nobody takes an event out of the middle, by accident or otherwise."""
    async with connected(nats_url) as connection:
        stream, js = NatsEventStream(connection, lazily=lazily), JetStream(connection)
        await stream.open(1)
        await stream.publish(events(1, 3))
        for request, body in (
            ("STREAM.PURGE", {}),
            ("STREAM.MSG.DELETE", {"seq": 2}),
        ):
            with pytest.raises(Unavailable):
                await js.api(f"{request}.PANDAR_EVENTS_1", body)
        assert await stored(connection, 1) == events(1, 3)


async def relay(
    connection: NatsConnection,
    total: int,
    *,
    lazily: bool,
    step: int,
    told: Callable[[int], None] = lambda _: None,
) -> None:
    """Publish so many events, ``step`` at a time, through all outages; tell what is stored."""
    stream, last = NatsEventStream(connection, lazily=lazily), 0
    while last < total:
        try:
            last = await stream.open(1)
            while last < total:
                last = await stream.publish(events(last + 1, min(last + step, total)))
                told(last)
        except (Unavailable, StreamBehind):
            await connection.wait_up()


@BOTH
@pytest.mark.fault
async def test_a_server_killed_under_load_loses_reorders_and_doubles_nothing(
    lazily: bool,
) -> None:
    """A relay that goes on from what `open` says fills the stream exactly."""
    total = 6000
    third = asyncio.Event()

    def stored_up_to(last: int) -> None:
        if last >= total // 3:
            third.set()

    async with (
        nats_process() as server,
        connected(server.url) as connection,
        renewal(connection) as renewed,
        NatsLive(connection).follow() as live,
        asyncio.timeout(PATIENCE_SEC * 2),
        asyncio.TaskGroup() as group,
    ):
        relaying = group.create_task(
            relay(connection, total, lazily=lazily, step=500, told=stored_up_to)
        )
        await third.wait()
        await server.kill()
        await server.start()
        await renewed.wait()
        await relaying
        assert await stored(connection, 1) == events(1, total)
        heard = [await anext(live)]
        while heard[-1].position < total:
            heard.append(await anext(live))
        told = [e.position for e in heard]
        if lazily:  # what was told, and lost with the server, is told again
            told = list(dict.fromkeys(told))
        assert told == sorted(set(told))


@BOTH
@pytest.mark.fault
async def test_a_durable_consumer_misses_nothing_when_the_server_is_killed(
    lazily: bool,
) -> None:
    """Whoever acknowledged what the server then lost goes on behind it, and hears all the rest."""
    total, heard = 3000, set[int]()

    async def consume(url: str) -> None:
        while len(heard) < total:
            with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
                client = await nats.connect(url, allow_reconnect=False)
                try:
                    consumer = await client.jetstream().pull_subscribe_bind("all", stream=STREAM)
                    while len(heard) < total:
                        for msg in await consumer.fetch(100, timeout=1):
                            heard.add(cloudevents.decode(msg.headers or {}, msg.data).position)
                            await msg.ack()
                finally:
                    await client.close()

    async with (
        nats_process() as server,
        connected(server.url) as connection,
        asyncio.timeout(PATIENCE_SEC * 2),
        asyncio.TaskGroup() as group,
    ):
        await NatsEventStream(connection, lazily=lazily).open(1)
        await JetStream(connection).ensure_consumer(STREAM, ConsumerConfig(durable_name="all"))
        relaying = group.create_task(relay(connection, total, lazily=lazily, step=50))
        consuming = group.create_task(consume(server.url))
        for part in (1, 2, 3):
            await until(lambda part=part: len(heard) > part * total // 5)  # type: ignore[misc]
            await server.kill()
            await server.start()
        await relaying
        await consuming
    assert heard == set(range(1, total + 1))
