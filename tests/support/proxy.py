"""A TCP proxy that does to connections what networks do: cuts them anywhere, or forgets them.

It stands between the daemon and one server and knows nothing of protocols.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

READ_BYTES = 65_536


class Proxy:
    """Passes bytes on to one server, from a port of its own on 127.0.0.1.

    ``cuts`` counts those of `cut_every`, whose lengths ``dice`` draws.
    """

    def __init__(self, url: str, dice: random.Random | None = None) -> None:
        """Stand before the server of a URL."""
        self._target = urlsplit(url)
        self._dice = dice or random.Random()
        self._server: asyncio.Server | None = None
        self._passing = asyncio.Event()
        self._passing.set()
        self._lines: set[_Line] = set()
        self._longest = self._left = 0
        self.cuts = 0

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def close(self) -> None:
        """Listen no more, and end all connections."""
        if self._server is not None:
            self._server.close()
            self._passing.set()
            for line in list(self._lines):
                line.abort()
            await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Return the URL it was made with, by way of here."""
        assert self._server is not None, "it is not open"
        port = self._server.sockets[0].getsockname()[1]
        who, at, _ = self._target.netloc.rpartition("@")
        return self._target._replace(netloc=f"{who}{at}127.0.0.1:{port}").geturl()

    def cut(self) -> None:
        """End each connection there is after half of what it carries next, with a reset."""
        for line in self._lines:
            line.cutting = True

    def cut_every(self, longest: int) -> None:
        """Cut the connection that carries the next 1 to ``longest`` bytes, and so on; 0 ends it.

        The bytes of both directions of all connections count together.
        """
        self._longest = longest
        self._left = self._dice.randint(1, max(longest, 1))

    def hush(self) -> None:
        """Pass nothing on, and say nothing: connections stay, new ones are not answered."""
        self._passing.clear()

    def speak(self) -> None:
        """Pass on what came meanwhile, and all that follows."""
        self._passing.set()

    def forget(self) -> None:
        """Let all connections there are stay open for ever, and nothing pass on them any more.

        So it is when a firewall forgot them, or a peer hangs. New ones work.
        """
        for line in self._lines:
            line.forgotten = True

    async def passed(self, line: _Line, data: bytes) -> bytes:
        """Return what of some bytes is to be carried on; marks a line that is to be cut then."""
        await self._passing.wait()
        if line.forgotten:
            return b""
        if line.cutting:
            return data[: len(data) // 2]
        if self._longest:
            self._left -= len(data)
            if self._left <= 0:
                line.cutting = True
                self.cuts += 1
                data = data[: self._left - 1]  # at least one byte never arrives
                self._left = self._dice.randint(1, self._longest)
        return data

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._passing.wait()
        try:
            there = await asyncio.open_connection(self._target.hostname, self._target.port)
        except OSError:
            writer.transport.abort()
            return
        line = _Line(self, writer, there[1])
        self._lines.add(line)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(line.carry(reader, there[1]))
                group.create_task(line.carry(there[0], writer))
        finally:
            self._lines.discard(line)
            line.abort()


class _Line:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, *writers: asyncio.StreamWriter) -> None:
        self.cutting = False
        self.forgotten = False
        self._proxy = proxy
        self._writers = writers

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one direction to its end; that ends the other one too."""
        with suppress(ConnectionError):
            while data := await reader.read(READ_BYTES):
                writer.write(await self._proxy.passed(self, data))
                await writer.drain()
                if self.cutting:
                    break
        self.abort()

    def abort(self) -> None:
        """End it at once, without a farewell."""
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def proxied(url: str, dice: random.Random) -> AsyncIterator[Proxy]:
    """Yield an open proxy before the server of a URL."""
    proxy = Proxy(url, dice)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()
