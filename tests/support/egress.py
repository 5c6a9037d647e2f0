"""A proxy of a box, on a door of this test, and what is on either side of it."""

from __future__ import annotations

import asyncio
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ssl import SSLContext

from events.calls import ToolCall
from pandar_daemon.adapters.egress.bounds import Bounds
from pandar_daemon.adapters.egress.proxy import EgressProxy
from pandar_daemon.ports import Blocked, Outward, Permission
from tests.support.receiver import LOCAL

Serve = Callable[[StreamReader, StreamWriter], Awaitable[None]]


def door() -> socket.socket:
    """Return a listening socket, as a box hands one out."""
    made = socket.socket()
    made.bind((LOCAL, 0))
    made.listen(100)
    made.setblocking(False)
    return made


@dataclass
class People:
    """Those who are asked: they say ``allowed`` once `decide` is set."""

    allowed: bool = True
    asked: list[ToolCall] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)
    decide: asyncio.Event = field(default_factory=asyncio.Event)
    fault: Exception | None = None

    async def inquire(self, call: ToolCall, why: str) -> Permission:
        """See `Inquire`."""
        assert why
        self.asked.append(call)
        self.came.set()
        await self.decide.wait()
        if self.fault is not None:
            raise self.fault
        return Permission(allowed=self.allowed, text="" if self.allowed else "not today")


@dataclass
class Way:
    """A box's way out, as the box has it. ``lookups`` are the names that were looked up."""

    port: int
    people: People
    blocked: list[Blocked] = field(default_factory=list)
    lookups: list[str] = field(default_factory=list)

    async def tell(self, attempt: Blocked) -> None:
        """See `Egress.serving`."""
        self.blocked.append(attempt)

    async def open(self) -> tuple[StreamReader, StreamWriter]:
        """Return a connection to the proxy."""
        return await asyncio.open_connection(LOCAL, self.port)

    async def say(self, text: str | bytes) -> bytes:
        """Return all that is answered until the connection ends."""
        reader, writer = await self.open()
        writer.write(text.encode() if isinstance(text, str) else text)
        try:
            return await reader.read()
        finally:
            await closed(writer)

    async def get(self, url: str) -> bytes:
        """Return what is answered to a request by URL, with a host the proxy must not believe."""
        return await self.say(f"GET {url} HTTP/1.1\r\nHost: lie.test\r\nConnection: close\r\n\r\n")

    async def tunnel(self, host: str) -> tuple[StreamReader, StreamWriter]:
        """Return a tunnel; fails the test when there is none."""
        reader, writer = await self.open()
        writer.write(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        return reader, writer


@asynccontextmanager
async def way_out(
    outward: Outward,
    hosts: Mapping[str, Sequence[str]] | None = None,
    *,
    people: People | None = None,
    bounds: Bounds | None = None,
    proxy: EgressProxy | None = None,
    at: socket.socket | None = None,
) -> AsyncIterator[Way]:
    """Serve a door; names are those of ``hosts``."""
    made = at or door()
    way = Way(made.getsockname()[1], people or People())

    async def resolve(host: str, _port: int) -> Sequence[str]:
        way.lookups.append(host)
        if host == LOCAL:
            return [host]
        if host not in (hosts or {}):
            raise OSError(f"no {host}")
        return (hosts or {})[host]

    egress = proxy or EgressProxy(resolve=resolve, bounds=bounds)
    async with egress.serving(made, outward, way.people.inquire, way.tell):
        yield way


@asynccontextmanager
async def served(serve: Serve, *, tls: SSLContext | None = None) -> AsyncIterator[int]:
    """Serve connections on a port of this machine."""
    tasks: set[asyncio.Task[None]] = set()

    async def once(reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError):
            await serve(reader, writer)
        await closed(writer)

    def accepted(reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.create_task(once(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accepted, LOCAL, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def echo(reader: StreamReader, writer: StreamWriter) -> None:
    """Say what is said until the other side is done."""
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


async def closed(writer: StreamWriter) -> None:
    """Close a connection, however it is."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
