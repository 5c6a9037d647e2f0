"""An attempt's output, carried to a client as it comes and ended when it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Final

from events.task import Cut
from pandar_daemon.adapters.http.runs import UNKNOWN
from pandar_daemon.adapters.http.stored_output import within
from pandar_daemon.ports import Chunk, OutputKey, Outputs

LAST_WORDS_SEC: Final = 2.0
"""How long output is waited for that should be there, after its attempt has ended."""

Emit = Callable[[Chunk, Cut | None], Awaitable[None]]
"""Takes a chunk, and what is missing between it and the one before."""


class Pipe:
    """Carries the output of one attempt from a byte on."""

    def __init__(self, outputs: Outputs, key: OutputKey, start: int, emit: Emit) -> None:
        self._outputs = outputs
        self._key = key
        self._end = start
        self._emit = emit
        self._moved = asyncio.Event()

    @property
    def end(self) -> int:
        """Return the offset after the last byte carried."""
        return self._end

    async def stored(self) -> None:
        """Carry what is stored by now; raises `Unavailable` when the bus is away."""
        await self._carry(self._outputs.read(self._key, start=self._end))

    async def run(self, ended: Coroutine[object, object, int]) -> None:
        """Return when all the attempt wrote has been carried, or what is left will never come.

        ``ended`` returns how many bytes that is once the attempt is over, perhaps `UNKNOWN`.
        """
        async with (
            self._outputs.follow(self._key, start=self._end) as chunks,
            asyncio.TaskGroup() as group,
        ):
            carrying = group.create_task(self._carry(chunks))
            await self._reach(await group.create_task(ended))
            carrying.cancel()

    async def _carry(self, chunks: AsyncIterator[Chunk]) -> None:
        async for chunk in chunks:
            rest = within(chunk, self._end)
            if not rest.data:
                continue
            missing = Cut(start=self._end, end=rest.offset) if rest.offset > self._end else None
            await self._emit(rest, missing)
            self._end = rest.offset + len(rest.data)
            self._moved.set()

    async def _reach(self, written: int) -> None:
        while written == UNKNOWN or self._end < written:
            self._moved.clear()
            try:
                async with asyncio.timeout(LAST_WORDS_SEC):
                    await self._moved.wait()
            except TimeoutError:
                return


def gap(cut: Cut) -> bytes:
    """Return the line that stands for what is missing."""
    return f"\n[pandar: {cut.end - cut.start} bytes of output are not kept]\n".encode()
