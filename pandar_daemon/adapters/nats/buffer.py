"""A bounded buffer between a callback that must not wait and a reader that may be slow."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Buffer(Generic[T]):
    """Keeps the newest ``limit`` items: the oldest go first, so that a reader sees the gap.

    Were the newest dropped, a reader would not learn of them until something else came.
    """

    def __init__(self, limit: int) -> None:
        self.dropped = 0
        self._items: deque[T] = deque()
        self._limit = limit
        self._filled = asyncio.Event()

    def put(self, item: T) -> None:
        """Add an item, dropping (and counting) the oldest when full."""
        if len(self._items) >= self._limit:
            self._items.popleft()
            self.dropped += 1
        self._items.append(item)
        self._filled.set()

    async def get(self) -> T:
        """Return the oldest item, once there is one."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        return self._items.popleft()

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            yield await self.get()
