"""Bytes both ways, as they come, until both sides have said all or neither says a thing."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from http import HTTPStatus
from typing import Final

from pandar_daemon.adapters.egress.bounds import CHUNK, READ_AHEAD, Bounds
from pandar_daemon.adapters.egress.refused import Refused
from pandar_daemon.domain.client_hello import NoHello, server_name
from pandar_daemon.domain.egress import Host

UNRECOGNISED: Final = bytes((21, 3, 3, 0, 2, 2, 112))
"""TLS' fatal alert ``unrecognized_name``: what a client shows instead of a closed connection."""

Stream = tuple[StreamReader, StreamWriter]


async def carry(client: Stream, server: Stream, bounds: Bounds) -> None:
    """Return when both sides are done; one that has said all may still listen.

    Raises ``OSError`` when one of them ended it otherwise.
    """
    quiet = _Quiet(bounds.idle_sec, (client[1], server[1]))
    pumps = {
        asyncio.create_task(_pump(client[0], server[1], quiet)),
        asyncio.create_task(_pump(server[0], client[1], quiet)),
    }
    try:
        done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_EXCEPTION)
        for pump in done:
            pump.result()
    finally:
        quiet.end()
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def greeting(reader: StreamReader, called: Host, begun: bytes, bounds: Bounds) -> bytes:
    """Return what a TLS client says first, once it has named whom it was let out to.

    Without this, a host that is allowed could be the way to any other on the same machines. Raises
    `Refused`.
    """
    try:
        async with asyncio.timeout(bounds.header_sec):
            name, said = await _hello(reader, begun)
    except (NoHello, TimeoutError):
        text = f"only TLS goes to port {called.port}, and {called} was called with something else"
        raise Refused(HTTPStatus.FORBIDDEN, "tls", text) from None
    if name != ("" if _is_address(called) else called.host):
        text = f"{called} was to be called, and {name or 'nobody by name'} was named in TLS"
        raise Refused(HTTPStatus.FORBIDDEN, "tls", text)
    return said


async def _hello(reader: StreamReader, said: bytes) -> tuple[str, bytes]:
    """Return whom a client names, and all it said so far; raises `NoHello`."""
    while (name := server_name(said)) is None:
        data = await reader.read(CHUNK)
        if not data:
            raise NoHello
        said += data
    return name, said


def _is_address(called: Host) -> bool:
    return ":" in called.host or called.host.rpartition(".")[2].isdigit()


async def _pump(reader: StreamReader, writer: StreamWriter, quiet: _Quiet) -> None:
    while data := await reader.read(READ_AHEAD):
        quiet.heard()
        writer.write(data)
        await writer.drain()
    with suppress(OSError):
        writer.write_eof()


class _Quiet:
    """Ends both connections after a time in which nothing came."""

    def __init__(self, idle_sec: float, writers: tuple[StreamWriter, StreamWriter]) -> None:
        self._idle_sec, self._writers = idle_sec, writers
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._timer = self._loop.call_later(idle_sec, self._look)

    def heard(self) -> None:
        self._last = self._loop.time()

    def end(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        left = self._last + self._idle_sec - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
            return
        for writer in self._writers:
            writer.transport.abort()
