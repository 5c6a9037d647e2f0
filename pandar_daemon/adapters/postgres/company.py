"""How long a commit waits for company: a quick disk would else be asked for one commit a command.

A commit that follows another closely waits until `PACE_SEC` have passed since that one began, or
`PACE_ITEMS` came together, and only while that brings company: who finds the writer at rest, or
asks one command after the other alone, waits for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sized
from contextlib import suppress

from pandar_daemon.ports import Clock

PACE_SEC = 0.005
PACE_ITEMS = 8
_WORTH = 0.25
"""Items that must come during a wait, on average over some, for the next to be waited too."""
_PROBE = 16
"""Of so many commits not worth a wait one waits all the same: there may be company by now."""


class Company:
    """The pace of one writer."""

    def __init__(self, clock: Clock, queue: Sized) -> None:
        """Let commits of what is in ``queue`` wait."""
        self._clock = clock
        self._queue = queue
        self._enough = asyncio.Event()
        self._began = float("-inf")
        self._gain = 1.0
        self._alone = 0

    def came(self) -> None:
        """Take note that something was queued."""
        if len(self._queue) >= PACE_ITEMS:
            self._enough.set()

    async def gathered(self) -> None:
        """Return when a commit should begin."""
        self._enough.clear()
        early = self._began + PACE_SEC - self._clock.boottime()
        if early > 0 and len(self._queue) < PACE_ITEMS and self._is_worth_it():
            had = len(self._queue)
            with suppress(TimeoutError):
                async with asyncio.timeout(early):
                    await self._enough.wait()
            self._gain += (len(self._queue) - had - self._gain) / 8
        self._began = self._clock.boottime()

    def _is_worth_it(self) -> bool:
        self._alone = 0 if self._gain >= _WORTH else (self._alone + 1) % _PROBE
        return self._alone == 0
