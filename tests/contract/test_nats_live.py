"""Following the log live: by the bus, or told by who puts the events there from this process."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from events import subjects
from pandar_daemon.adapters.nats import cloudevents
from pandar_daemon.adapters.nats.events import NatsEventStream
from pandar_daemon.adapters.nats.live import NatsLive
from tests.support.bus import (
    PATIENCE_SEC,
    connected,
    events,
    nats_process,
    recorded,
    renewal,
    send_raw,
)

pytestmark = pytest.mark.servers


async def test_each_follower_hears_every_event(nats_url: str) -> None:
    """One subscription serves them all: whoever leaves takes nothing from the others."""
    async with connected(nats_url) as connection:
        stream, live = NatsEventStream(connection), NatsLive(connection)
        await stream.open(1)
        async with live.follow() as first, asyncio.timeout(PATIENCE_SEC):
            async with live.follow() as second:
                await stream.publish(events(1, 1))
                assert [await anext(first), await anext(second)] == [recorded(1)] * 2
            await stream.publish(events(2, 2))
            assert await anext(first) == recorded(2)
        await stream.publish(events(3, 3))
        async with live.follow() as again, asyncio.timeout(PATIENCE_SEC):
            await stream.publish(events(4, 4))
            assert await anext(again) == recorded(4)


async def test_one_comes_as_another_goes(nats_url: str) -> None:
    """Who has come hears each event once."""
    async with connected(nats_url) as connection, contextlib.AsyncExitStack() as coming:
        stream, live = NatsEventStream(connection), NatsLive(connection)
        await stream.open(1)
        going = contextlib.AsyncExitStack()
        await going.enter_async_context(live.follow())
        _, heard = await asyncio.gather(going.aclose(), coming.enter_async_context(live.follow()))
        async with asyncio.timeout(PATIENCE_SEC):
            await stream.publish(events(1, 3))
            assert [await anext(heard) for _ in range(3)] == events(1, 3)


async def test_garbage_on_the_live_subject_is_left_out(nats_url: str) -> None:
    """Forged, empty, binary, misplaced: only what the stream stored is passed on."""
    forged = recorded(3)
    async with connected(nats_url) as connection:
        stream = NatsEventStream(connection)
        await stream.open(1)
        subject = subjects.event(forged).replace(subjects.EVENTS, subjects.LIVE_EVENTS)
        async with NatsLive(connection).follow() as live, asyncio.timeout(PATIENCE_SEC):
            await stream.publish(events(1, 1))
            await connection.publish(subject, b"")
            await connection.publish(subject, bytes(forged.data), cloudevents.encode(forged))
            misplaced = {**cloudevents.encode(forged), "Nats-Sequence": "4"}
            await connection.publish(subject, bytes(forged.data), misplaced)
            await connection.publish(subject, b"\xff", {**misplaced, "Nats-Sequence": "3"})
            await send_raw(nats_url, b"PUB pandar.v1.live.evt.\xff 2\r\nhi\r\n")
            await stream.publish(events(2, 2))
            assert [await anext(live), await anext(live)] == events(1, 2)


async def test_who_follows_beside_the_relay_hears_each_event_once(nats_url: str) -> None:
    """Told here and not by the bus as well, whoever came before or meanwhile; then by that."""
    async with connected(nats_url) as connection:
        stream, live = NatsEventStream(connection), NatsLive(connection)
        await stream.open(1)
        async with live.follow() as first, asyncio.timeout(PATIENCE_SEC):
            await stream.publish(events(1, 1))
            assert await anext(first) == recorded(1)
            async with live.led_here(), live.follow() as second:
                live.tell(events(2, 3))
                await stream.publish(events(2, 3))
                assert [await anext(second), await anext(second)] == events(2, 3)
            async with live.follow() as third:
                await stream.publish(events(4, 4))
                assert await anext(third) == recorded(4)
            assert [await anext(first) for _ in range(3)] == events(2, 4)


async def test_who_leads_while_nobody_follows_listens_to_nothing(nats_url: str) -> None:
    """Neither when it begins nor when it ends; who follows later hears the bus."""
    async with connected(nats_url) as connection:
        stream, live = NatsEventStream(connection), NatsLive(connection)
        await stream.open(1)
        async with live.led_here():
            live.tell(events(1, 1))
            await stream.publish(events(1, 1))
        async with live.follow() as follower, asyncio.timeout(PATIENCE_SEC):
            await stream.publish(events(2, 2))
            assert await anext(follower) == recorded(2)


@pytest.mark.fault
async def test_the_lead_may_begin_and_end_while_the_bus_is_away() -> None:
    """Who follows is told all the same, and hears the bus when that is back."""
    async with (
        nats_process() as server,
        connected(server.url) as connection,
        renewal(connection) as renewed,
    ):
        stream, live = NatsEventStream(connection), NatsLive(connection)
        async with live.follow() as follower, asyncio.timeout(PATIENCE_SEC * 2):
            await server.kill()
            async with live.led_here():
                live.tell(events(1, 1))
                assert await anext(follower) == recorded(1)
            await server.start()
            await renewed.wait()
            await stream.open(1)
            await stream.publish(events(1, 2))
            assert [await anext(follower), await anext(follower)] == events(1, 2)
