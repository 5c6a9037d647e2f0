"""The connection outlives everything nats-py does not."""

from __future__ import annotations

import asyncio

import pytest

from pandar_daemon.adapters.nats.client import GuardedClient
from pandar_daemon.adapters.nats.connection import NatsConnection, NoResponders, connect
from pandar_daemon.adapters.nats.wire import NatsWire
from pandar_daemon.domain.refusals import TooLarge, Unavailable
from tests.support.bus import CLOCK, PATIENCE_SEC, connected, nats_process, renewal, send_raw

pytestmark = pytest.mark.servers


def client_of(connection: NatsConnection) -> GuardedClient:
    """Return the nats-py client beneath, to break it."""
    assert connection._client is not None
    return connection._client


async def hears_itself(connection: NatsConnection) -> bool:
    """Tell whether a subscription made now gets what is published."""
    wire = NatsWire(connection)
    async with wire.subscribe("test.self") as messages, asyncio.timeout(PATIENCE_SEC):
        await wire.publish("test.self", b"hello", {"Some-Header": "ü"})
        got = await anext(messages)
    return got.body == b"hello" and got.headers == {"some-header": "ü"}


async def test_a_closed_client_is_replaced_and_subscriptions_are_made_again(nats_url: str) -> None:
    """A message whose headers pass nats-py's check makes the server close us: we come back."""
    async with connected(nats_url) as connection, renewal(connection) as renewed:
        wire = NatsWire(connection)
        async with wire.subscribe("test.kept") as messages, asyncio.timeout(PATIENCE_SEC):
            client = client_of(connection)
            await client.publish("test.x", b"x" * client.max_payload, headers={"a": "b" * 100})
            await renewed.wait()
            assert client_of(connection) is not client
            await wire.publish("test.kept", b"again")
            assert (await anext(messages)).body == b"again"


async def test_a_dead_read_loop_is_noticed_by_the_echo(nats_url: str) -> None:
    """nats-py calls itself connected with nobody reading; the probe does not believe it."""
    async with connected(nats_url, probe_sec=0.2) as connection, renewal(connection) as renewed:
        client = client_of(connection)
        assert client._reading_task is not None
        client._reading_task.cancel()
        async with asyncio.timeout(PATIENCE_SEC):
            await renewed.wait()
        assert await hears_itself(connection)


async def test_a_failed_publish_is_known_at_once_to_who_waits_for_the_bus(nats_url: str) -> None:
    """Whoever tries again after `wait_up` waits, instead of trying for ever in one go."""
    async with connected(nats_url, probe_sec=0.2) as connection, renewal(connection) as renewed:
        client_of(connection)._status = GuardedClient.DISCONNECTED
        with pytest.raises(Unavailable):
            await connection.publish("test.x")
        waiting = asyncio.create_task(connection.wait_up())
        await asyncio.wait([waiting], timeout=0)
        assert not waiting.done()
        async with asyncio.timeout(PATIENCE_SEC):
            await waiting
            await renewed.wait()
        assert await hears_itself(connection)


async def test_a_frozen_server_is_noticed_and_its_return_too() -> None:
    """A server that keeps the socket but answers nothing is away; up_since tells both."""
    async with (
        nats_process() as server,
        connected(server.url, probe_sec=0.2) as connection,
        renewal(connection) as renewed,
    ):
        before = connection.up_since or 0.0
        client = client_of(connection)
        server.freeze()
        async with asyncio.timeout(PATIENCE_SEC):
            await client.gone.wait()
        assert NatsWire(connection).up_since is None
        with pytest.raises(Unavailable):
            await NatsWire(connection).rtt()
        server.thaw()
        async with asyncio.timeout(PATIENCE_SEC):
            await renewed.wait()
        assert (NatsWire(connection).up_since or 0.0) > before > 0
        assert await hears_itself(connection)


async def test_a_killed_server_fails_what_is_awaited_at_once_and_buffers_nothing() -> None:
    """A question in flight ends with Unavailable; what is said while away never lands later."""
    async with (
        nats_process() as server,
        connected(server.url) as connection,
        renewal(connection) as renewed,
    ):
        wire = NatsWire(connection)
        async with wire.subscribe("test.deaf"), wire.subscribe("test.later") as later:
            asking = asyncio.create_task(connection.request("test.deaf", timeout_sec=600))
            assert await wire.rtt() >= 0
            await server.kill()
            with pytest.raises(Unavailable):
                await asking
            await wire.publish("test.later", b"while away")
            await server.start()
            async with asyncio.timeout(PATIENCE_SEC):
                await renewed.wait()
                await wire.publish("test.later", b"after")
                assert (await anext(later)).body == b"after"


async def test_the_connection_is_given_before_the_server_is_there() -> None:
    """Whoever starts first waits; a question asked too early is answered once the bus is up."""
    async with nats_process() as server:
        await server.kill()
        async with connect(server.url, CLOCK, "early", wait_sec=0) as connection:
            assert connection.up_since is None
            asking = asyncio.create_task(connection.request("nobody.there", timeout_sec=600))
            await server.start()
            with pytest.raises(NoResponders):
                await asking


async def test_what_the_server_would_close_us_for_is_refused_here(nats_url: str) -> None:
    """Payload and headers over the limit, endless subjects, broken headers are errors."""
    async with connected(nats_url) as connection:
        client = client_of(connection)
        with pytest.raises(TooLarge, match="headers included"):
            await connection.publish("test.x", b"x" * client.max_payload, {"a": "b"})
        for subject in ("a" * 2_000, "a b", "", "a\r\nPUB b 0"):
            with pytest.raises(ValueError, match=r"subject|sent"):
                await connection.publish(subject)
        with pytest.raises(ValueError, match="sent"):
            await connection.publish("test.x", b"", {"bad name\r\n": "x"})
        assert client_of(connection) is client
        assert await hears_itself(connection)


async def test_what_is_published_in_one_turn_arrives_in_order(nats_url: str) -> None:
    """The first goes straight to the socket, the rest by the flusher, more than a socket holds."""
    async with connected(nats_url) as one, connected(nats_url) as two:
        wire = NatsWire(one)
        async with wire.subscribe("test.order") as messages, asyncio.timeout(PATIENCE_SEC):
            for n in range(3_000):
                await two.publish("test.order", f"{n:05}".encode() * 800)
            heard = [int((await anext(messages)).body[:5]) for _ in range(3_000)]
        assert heard == list(range(3_000))


async def test_messages_that_end_the_read_loop_of_nats_py_are_dropped(nats_url: str) -> None:
    """Subjects and status lines that are no UTF-8, and headers cut short, harm nobody."""
    async with connected(nats_url) as connection:
        wire, client = NatsWire(connection), client_of(connection)
        async with wire.subscribe("test.>") as messages, asyncio.timeout(PATIENCE_SEC):
            await send_raw(
                nats_url,
                b"PUB test.\xff\xfe 2\r\nhi\r\n"
                b"HPUB test.status 18 18\r\nNATS/1.0 \xff\xfe\xfd \xff\r\n\r\n\r\n"
                b"HPUB test.short 8 8\r\nNATS/1.0\r\n",
            )
            await wire.publish("test.good", b"still here")
            while (got := await anext(messages)).subject != "test.good":
                pass
            assert got.body == b"still here"
        assert client_of(connection) is client


async def test_a_late_pong_does_not_end_the_read_loop(nats_url: str) -> None:
    """The answer to a ping somebody gave up on is ignored; nats-py by itself dies of it."""
    async with connected(nats_url) as connection:
        client = client_of(connection)
        given_up: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        given_up.cancel()
        await client._send_ping(given_up)
        assert await hears_itself(connection)
        assert client_of(connection) is client


async def test_a_slow_subscriber_loses_the_oldest(nats_url: str) -> None:
    """A full buffer keeps the newest, so that its reader sees that something is missing."""
    async with connected(nats_url) as connection:
        wire = NatsWire(connection, buffer=3)
        async with wire.subscribe("test.many") as messages, asyncio.timeout(PATIENCE_SEC):
            for number in range(10):
                await wire.publish("test.many", b"%d" % number)
            await wire.rtt()
            assert [(await anext(messages)).body for _ in range(3)] == [b"7", b"8", b"9"]


async def test_leaving_the_connection_sends_what_was_published(nats_url: str) -> None:
    """The last words of a process that ends in order are heard."""
    async with connected(nats_url) as listener, NatsWire(listener).subscribe("test.bye") as heard:
        async with connected(nats_url) as connection:
            await NatsWire(connection).publish("test.bye", b"bye")
        async with asyncio.timeout(PATIENCE_SEC):
            assert (await anext(heard)).body == b"bye"


async def test_who_is_cancelled_while_leaving_leaves_nothing(nats_url: str) -> None:
    """No subscription stays, here or on the server, and no task of one."""
    async with connected(nats_url) as connection:
        client = client_of(connection)
        tasks, subscriptions = asyncio.all_tasks(), set(client._subs)
        wire, up = NatsWire(connection), asyncio.Event()

        async def listen() -> None:
            async with wire.subscribe("test.left"):
                up.set()
                await asyncio.get_running_loop().create_future()

        for turns in range(10):
            up.clear()
            listening = asyncio.create_task(listen())
            await up.wait()
            listening.cancel()
            for _ in range(turns):
                await asyncio.sleep(0)
            listening.cancel()
            await asyncio.wait({listening})
            assert set(client._subs) == subscriptions
        async with asyncio.timeout(PATIENCE_SEC):
            while asyncio.all_tasks() > tasks:  # noqa: ASYNC110 - in the loop
                await asyncio.sleep(0)
        with pytest.raises(NoResponders):
            await connection.request("test.left", timeout_sec=PATIENCE_SEC)
