"""The end of the log, kept in memory once for all readers of a process.

One task reads the log on; any number of readers are cursors into what it keeps. So a reader costs
a number, not a queue, and a slow one holds nobody up: what has left the memory it reads from the
log itself::

    log: 1 ………………………………… │ first ……… last │
                reader at 40 ─▶ from the store   └ reader at `last` waits
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from itertools import islice
from typing import Final

from events.envelope import Recorded
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import EventStore
from pandar_daemon.services.feed import Feed, LogWentBack

KEPT: Final = 2_048
"""Events kept in memory, at least; twice as many at most."""

_BATCH: Final = 256
SLICE: Final = 64
"""Readers woken in one turn of the loop: with a thousand of them, others get their turns too."""


class Tail:
    """Serves the newest events from memory and older ones from the log."""

    def __init__(self, feed: Feed, store: EventStore, *, kept: int = KEPT) -> None:
        self._feed = feed
        self._store = store
        self._kept = kept
        self._events: list[Recorded] = []
        self._last = 0
        self._restored = 0
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._to_wake = 0

    async def run(self) -> None:
        """Read the log on, until cancelled; started again it goes on where it was.

        Raises what the store raises, and `LogWentBack`: then it begins anew at the log's end.
        """
        if not self._last:
            self._reach((await self._store.head()).position)
        try:
            async with aclosing(self._feed.batches(self._last, _BATCH)) as batches:
                async for batch in batches:
                    self._grow(batch)
        except LogWentBack:
            self._events.clear()
            self._restored += 1
            self._reach(0)
            raise

    def _grow(self, batch: list[Recorded]) -> None:
        self._events.extend(batch)
        if len(self._events) > 2 * self._kept:
            del self._events[: -self._kept]
        self._reach(batch[-1].position)

    def _reach(self, position: int) -> None:
        """Take note of where the log ends now, and wake everybody who waits."""
        self._last = position
        idle, self._to_wake = not self._to_wake, len(self._waiting)
        if idle:
            self._wake()

    def _wake(self) -> None:
        """Wake those who wait longest, a slice a turn of the loop."""
        for reader in list(islice(self._waiting, min(self._to_wake, SLICE))):
            del self._waiting[reader]
            self._to_wake -= 1
            if not reader.done():
                reader.set_result(None)
        self._to_wake = min(self._to_wake, len(self._waiting))
        if self._to_wake:
            asyncio.get_running_loop().call_soon(self._wake)

    async def after(self, position: int, limit: int) -> list[Recorded]:
        """Return at most ``limit`` events after a position, dense and in order; perhaps none.

        Raises what the store raises when it has to be asked.
        """
        if position >= self._last:
            return []
        first = self._last - len(self._events) + 1
        if position + 1 < first:
            return await self._store.read_all(after=position, limit=limit)
        begin = position + 1 - first
        return self._events[begin : begin + limit]

    async def wait(self, position: int) -> None:
        """Return once there are events after a position.

        Raises `Unavailable` when the log is restored from a backup meanwhile: the position may
        be of an event that never was.
        """
        restored = self._restored
        while self._last <= position:
            await self._growth()
            if self._restored != restored:
                raise Unavailable("the log was restored from a backup: begin anew")

    async def _growth(self) -> None:
        reader: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[reader] = None
        try:
            await reader
        finally:
            self._waiting.pop(reader, None)
