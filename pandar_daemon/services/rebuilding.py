"""Bringing generations to the present end of the log, which is read once for all of them.

Each takes the batches at its own pace, a few behind the reader at most. So one puts events into
rows while the database takes the rows of another, and the next batch is on its way meanwhile::

    log ──▶ reader ──▶ inbox ──▶ generation of tasks      fold ▒▒░░░▒▒░░░     ▒ here
                  ├──▶ inbox ──▶ generation of timeline       ▒▒▒░░▒▒▒░░     ░ in the database
                  └──▶ ...
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager

from events.envelope import Recorded
from pandar_daemon.ports import Checkpoint, EventStore
from pandar_daemon.services.stepping import Stepping, Told, side_by_side, told

AHEAD_MAX = 1
"""Batches that wait for a generation, which works on another: it never waits for the reader, and
few are in memory."""

COLLECT_EVERY = 100_000
"""Objects made and not yet dropped, before Python looks for cycles among them. Events and rows have
none, and are many at a time: by default a sixth of a rebuild's time is spent looking."""

Heard = Callable[[str, int], None]
Inbox = asyncio.Queue[Sequence[Told]]


class Rebuilding:
    """Reads ``store`` for generations that ``stepping`` moves."""

    def __init__(self, store: EventStore, stepping: Stepping) -> None:
        self._store = store
        self._stepping = stepping

    async def catch_up(
        self, at: Sequence[Checkpoint], limit: int, built: Heard
    ) -> list[Checkpoint]:
        """Bring generations to the present end of the log, ``limit`` events a transaction.

        ``built`` hears how far each is. Raises what `Stepping.apart` and the store raise.
        """
        lanes: list[Inbox] = [asyncio.Queue(AHEAD_MAX) for _ in at]
        done: dict[int, Checkpoint] = {}

        async def lane(nth: int) -> None:
            done[nth] = await self._advance(at[nth], lanes[nth], built)

        start = min(one.position for one in at)
        with _seldom_collected():
            await side_by_side([self._read(start, limit, lanes), *map(lane, range(len(at)))])
        return [done[nth] for nth in range(len(at))]

    async def _advance(self, at: Checkpoint, inbox: Inbox, built: Heard) -> Checkpoint:
        while batch := await inbox.get():
            [at] = await self._stepping.apart([at], batch)
            built(at.model, at.position)
        return at

    async def _read(self, after: int, limit: int, inboxes: Sequence[Inbox]) -> None:
        """Hand on the log to its end, then an empty batch."""
        async with aclosing(self._history(after, limit)) as batches:
            async for batch in batches:
                events = told(batch)
                for inbox in inboxes:
                    await inbox.put(events)
        for inbox in inboxes:
            await inbox.put(())

    async def _history(self, after: int, limit: int) -> AsyncGenerator[list[Recorded], None]:
        """Iterate over the log to its present end, in batches; the next is read meanwhile."""
        reading = self._reading(after, limit)
        try:
            while batch := await reading:
                full = len(batch) == limit
                if full:
                    reading = self._reading(batch[-1].position, limit)
                yield batch
                if not full:
                    return
        finally:
            reading.cancel()
            await asyncio.wait({reading})

    def _reading(self, after: int, limit: int) -> asyncio.Task[list[Recorded]]:
        return asyncio.create_task(self._store.read_all(after=after, limit=limit))


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Let Python look for cycles seldom, until left; the first to leave ends it for all."""
    before = gc.get_threshold()
    if before[0] >= COLLECT_EVERY:
        yield
        return
    gc.set_threshold(COLLECT_EVERY, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
