"""A reader of Server-Sent Events that knows nothing of Pandar."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

PATIENCE_SEC = 30.0


class Message(Struct, frozen=True):
    """One event as a browser would see it; ``name`` is empty for one that only moves the id."""

    id: str
    name: str
    data: Any = None


class Stream:
    """An open stream."""

    def __init__(self, messages: AsyncIterator[Message]) -> None:
        self._messages = messages

    async def next(self) -> Message:
        """Return the next event with a name; raises ``StopAsyncIteration`` at the end."""
        async with asyncio.timeout(PATIENCE_SEC):
            while True:
                message = await anext(self._messages)
                if message.name:
                    return message

    async def heartbeat(self) -> Message:
        """Return the next one that only moves the id."""
        async with asyncio.timeout(PATIENCE_SEC):
            while True:
                message = await anext(self._messages)
                if not message.name:
                    return message

    async def end(self) -> None:
        """Return once the stream has ended, whatever it says until then."""
        async with asyncio.timeout(PATIENCE_SEC):
            async for _ in self._messages:
                pass

    async def until(self, name: str) -> list[Message]:
        """Return what comes, up to and with the first event of a name."""
        found = [await self.next()]
        while found[-1].name != name:
            found.append(await self.next())
        return found


def events(content: aiohttp.StreamReader) -> Stream:
    """Return the events of a response."""
    return Stream(_read(content))


async def _read(content: aiohttp.StreamReader) -> AsyncIterator[Message]:
    id_, name, data = "", "", b""
    async for raw in content:
        line = raw.rstrip(b"\n")
        field, _, value = line.partition(b": ")
        if field == b"id":
            id_ = value.decode()
        elif field == b"event":
            name = value.decode()
        elif field == b"data":
            data += value
        elif not line and id_:
            yield Message(id_, name, msgspec.json.decode(data) if data else None)
            name, data = "", b""
