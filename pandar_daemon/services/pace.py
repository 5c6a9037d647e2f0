"""Not too often: what comes after a pause is done at once, what comes all the time waits a beat."""

from __future__ import annotations

import asyncio


class Pace:
    """A beat for work done over and over; after a pause, once more than it allows.

    The second of two events that belong together seldom comes with the first: it should not wait.
    """

    def __init__(self, beat_sec: float) -> None:
        """Allow one a ``beat_sec`` in the long run."""
        self._beat_sec = beat_sec
        self._due = float("-inf")

    def pause(self, now: float) -> float:
        """Return how many seconds to wait from ``now`` on, when the last is done."""
        self._due = max(now, self._due + self._beat_sec)
        return self._due - now

    async def kept(self) -> None:
        """Return when the next may begin."""
        await asyncio.sleep(self.pause(asyncio.get_running_loop().time()))
