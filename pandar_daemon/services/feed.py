"""Dense batches of the log: what comes live, completed from the log wherever it must be.

The bus is fast and may lose; the log is slow and complete. A position says which of the two is
next: an event that continues exactly is taken as it came, anything else sends the reader to the
log. A poll of the log stands behind both, for a bus that is away or lost the last event; readers
who wait beside each other share it::

    live ──▶ inbox (bounded, drops) ──▶ continues at position + 1? ──yes──▶ batch
                                             │ no, or overflow, or for a second nothing that does
                                             └──▶ read_all(after=position) ──▶ batch

A log that ends before what was read already is another one: restored from a backup. Its reader is
told so, and must not wait for positions that will be given to other events.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress

import structlog

from events.envelope import Recorded
from pandar_daemon.ports import EventStore, Live

log = structlog.get_logger(__name__)

INBOX_MAX = 10_000
POLL_SEC = 1.0


class LogWentBack(ConnectionError):
    """The log ends before what was read of it: it was restored from a backup."""


class _Inbox:
    """What came live and was not read yet; when full it forgets the oldest."""

    def __init__(self) -> None:
        self._waiting: deque[Recorded] = deque(maxlen=INBOX_MAX)
        self._came = asyncio.Event()

    def put(self, recorded: Recorded) -> None:
        self._waiting.append(recorded)
        self._came.set()

    def take(self, after: int, limit: int) -> list[Recorded]:
        """Remove and return what continues exactly after a position; forget what is before it."""
        self._came.clear()
        while self._waiting and self._waiting[0].position <= after:
            self._waiting.popleft()
        batch: list[Recorded] = []
        while self._waiting and len(batch) < limit and self._waiting[0].position == after + 1:
            batch.append(self._waiting.popleft())
            after += 1
        return batch

    def is_ahead(self) -> bool:
        """Whether something waits; after an empty `take`: something beyond a gap."""
        return bool(self._waiting)

    async def arrival(self, timeout_sec: float) -> bool:
        """Wait for something to come after the last `take`; false when nothing did in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_sec):
                return await self._came.wait()
        return False


class Feed:
    """Reads the log on, as it grows."""

    def __init__(self, live: Live, store: EventStore, *, poll_sec: float = POLL_SEC) -> None:
        """Follow ``live``, completed from ``store``, which is asked every ``poll_sec`` anyway."""
        self._live = live
        self._store = store
        self._poll_sec = poll_sec
        self._turn = asyncio.Lock()
        self._seen = (float("-inf"), 0)  # when a reader last looked where the log ends, and where

    async def batches(self, after: int, limit: int) -> AsyncGenerator[list[Recorded], None]:
        """Iterate over every event after a position, once, in order, in batches; never ends.

        A batch has at least one event and at most ``limit``. Raises what the store raises, and
        `LogWentBack`; close the iterator (``contextlib.aclosing``) to stop following.
        """
        async with self._inbox() as inbox, aclosing(self._read(inbox, after, limit)) as batches:
            async for batch in batches:
                yield batch

    async def _read(
        self, inbox: _Inbox, after: int, limit: int
    ) -> AsyncGenerator[list[Recorded], None]:
        behind, now = True, asyncio.get_running_loop().time
        moved_at = now()
        while True:
            since = now()
            batch = inbox.take(after, limit)
            if not batch and (behind or inbox.is_ahead()):
                batch = await self._store.read_all(after=after, limit=limit)
                behind = len(batch) == limit
                if not batch:
                    await self._has_grown(after, since)
            if batch:
                after = batch[-1].position
                yield batch
                moved_at = now()
            elif not await inbox.arrival(self._poll_sec) or now() - moved_at > self._poll_sec:
                behind = await self._has_grown(after, since)
                moved_at = now()

    async def _has_grown(self, position: int, since: float) -> bool:
        """Tell by a look of this or another reader, not older than when it had read so far."""
        async with self._turn:
            if self._seen[0] < since:
                began = asyncio.get_running_loop().time()
                self._seen = began, (await self._store.head()).position
            head = self._seen[1]
        if head < position:
            raise LogWentBack(f"the log ends at {head}, and was read up to {position}")
        return head > position

    @asynccontextmanager
    async def _inbox(self) -> AsyncIterator[_Inbox]:
        """Follow what comes live from now on, in a task of its own, until left."""
        inbox = _Inbox()
        following = asyncio.create_task(self._follow(inbox))
        try:
            yield inbox
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following

    async def _follow(self, inbox: _Inbox) -> None:
        while True:
            try:
                async with self._live.follow() as events:
                    async for recorded in events:
                        inbox.put(recorded)
            except Exception as error:  # noqa: BLE001 - whatever ails the bus, the log is polled
                log.warning("feed.bus_lost", error=type(error).__name__)
            await asyncio.sleep(self._poll_sec)
