"""Those who do not read: memory stays bounded, nobody else notices, and they can catch up."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from events import subjects
from pandar_daemon.adapters.http.deps import Limits
from pandar_daemon.adapters.nats.events import NatsEventStream
from pandar_daemon.adapters.nats.live import NatsLive
from pandar_daemon.services import feed as service
from pandar_daemon.services.feed import Feed
from tests.support.api import Person, running_api
from tests.support.appending import said
from tests.support.bus import connected
from tests.support.daemon import free_port
from tests.support.log import Log, open_log
from tests.support.serving import ROLES, Urls, serving
from tests.support.trees import status_of
from tests.support.waiting import until

pytestmark = [pytest.mark.servers, pytest.mark.fault, pytest.mark.timeout(120)]

EVENTS = 2_000
EVENT_BYTES = 4_096
SLOW = 20
GROWTH_MAX_BYTES = 40 * 2**20
"""Were all kept that the slow ones did not read, it would be 160 MiB for each `EVENTS` more."""
STUCK_BUFFER_BYTES = 4_096


async def stuck(base_url: str, token: str) -> socket.socket:
    """Open a stream of events from the first one on, and read none of it."""
    parts = urlsplit(base_url)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STUCK_BUFFER_BYTES)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, (parts.hostname, parts.port))
    request = (
        f"GET /api/v1/events HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Authorization: Bearer {token}\r\nLast-Event-ID: 0\r\n\r\n"
    )
    await loop.sock_sendall(client, request.encode())
    return client


async def stuck_on_the_bus(nats_url: str) -> socket.socket:
    """Subscribe to all live events with a client that never reads."""
    parts = urlsplit(nats_url)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STUCK_BUFFER_BYTES)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, (parts.hostname, parts.port))
    hello = f'CONNECT {{"user":"{parts.username}","pass":"{parts.password}","headers":true}}'
    await loop.sock_sendall(client, f"{hello}\r\nSUB {subjects.LIVE_EVENTS}.> 1\r\n".encode())
    return client


async def grow(database_url: str, first: int) -> None:
    """Append `EVENTS` large events to a log that others follow, to streams from a number on."""
    async with open_log(database_url) as log, asyncio.TaskGroup() as group:
        for stream in range(first, first + EVENTS // 100):
            group.create_task(_grow(log, f"task-{stream}"))


async def _grow(log: Log, stream: str) -> None:
    for _ in range(100):
        await log.add(stream, *said("x" * EVENT_BYTES))


def memory_of(pid: int) -> int:
    """Return how many bytes of memory a process has."""
    return int(status_of(pid)["VmRSS"].split()[0]) * 1024


async def read_to(person: Person, last: int, start: str) -> list[int]:
    """Return the positions of a stream of events, from one id to a position."""
    seen: list[int] = []
    async with person.stream("/events", start) as stream:
        while not seen or seen[-1] < last:
            seen.append((await stream.next()).data["position"])
    return seen


async def test_many_who_do_not_read(database_url: str, nats_url: str, tmp_path: Path) -> None:
    """Twenty open streams and a bus subscriber are stuck: the others have everything."""
    roles = (*ROLES, "api")
    port = free_port()
    async with AsyncExitStack() as stack:
        daemon = await stack.enter_async_context(
            serving(Urls(database_url, nats_url), tmp_path, roles=roles, PANDAR_HTTP_PORT=str(port))
        )
        session = await stack.enter_async_context(aiohttp.ClientSession())
        person = Person(session, f"http://127.0.0.1:{port}", daemon.token)
        await daemon.file("first")
        await daemon.level()
        assert daemon.program is not None
        pid = daemon.program.process.pid
        clients = [await stuck(person.base_url, daemon.token) for _ in range(SLOW)]
        clients.append(await stuck_on_the_bus(nats_url))
        for client in clients:
            stack.callback(client.close)
        await grow(database_url, 1000)
        await daemon.level()  # each of them is stuck now, with all that is kept for it
        before = memory_of(pid)
        await grow(database_url, 2000)
        await daemon.level()
        assert memory_of(pid) - before < GROWTH_MAX_BYTES
        last = (await daemon.site.events())[-1].position
        assert await read_to(person, last, "0") == list(range(1, last + 1))
        await daemon.check()


async def test_one_who_takes_nothing_is_cut_off(
    database_url: str, nats_url: str, tmp_path: Path
) -> None:
    """After its time a stuck stream is broken off; its client comes back and misses nothing."""
    limits = Limits(write_sec=0.3)
    async with running_api(database_url, nats_url, tmp_path, limits=limits) as api:
        person = api.person("1", "admin")
        await person.project()
        client = await stuck(api.base_url, person.token)
        await grow(database_url, 1000)
        registry = api.parts.metrics.registry
        await until(lambda: registry.get_sample_value("pandar_http_streams") == 0)
        client.close()
        last = (await api.parts.store.head()).position
        assert await read_to(person, last, "0") == list(range(1, last + 1))


async def test_a_reader_whose_inbox_overflows_has_everything(
    database_url: str, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a follower of the bus could not keep, it reads from the log: dense, in order, once."""
    monkeypatch.setattr(service, "INBOX_MAX", 50)
    async with open_log(database_url) as log, connected(nats_url) as bus:
        stream = NatsEventStream(bus)
        await stream.open(1)
        feed = Feed(NatsLive(bus, buffer=20), log.store)
        async with aclosing(feed.batches(0, 100)) as batches:
            await log.add("task-1", *said("first"))
            await stream.publish(await log.everything())
            seen = [each.position for each in await anext(batches)]
            for _ in range(10):  # and now it does not read
                await log.add("task-1", *said(*("more" for _ in range(50))))
                everything = await log.everything()
                await stream.publish(everything[-50:])
            await bus.echo(timeout_sec=10)
            while seen[-1] < len(everything):
                seen += [each.position for each in await anext(batches)]
    assert seen == list(range(1, len(everything) + 1))
