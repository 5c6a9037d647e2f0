"""The requests being worked on: bounded, and finished before the door closes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import anyio
import structlog

from events.problem import Problem
from pandar_daemon.domain.refusals import Unavailable

log = structlog.get_logger(__name__)

FINISH_SEC = 10.0


class InHand:
    """At most ``limit`` pieces of work at a time, each a task of its own."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tasks: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()

    @property
    def free(self) -> int:
        """Return how many more may be started."""
        return self._limit - len(self._tasks)

    def full(self) -> Problem:
        """Return what to answer when none may."""
        return Unavailable(f"{self._limit} requests are being worked on; ask again later").problem

    async def room(self) -> None:
        """Return once at least one more may be started."""
        while self.free <= 0:
            self._freed.clear()
            await self._freed.wait()

    def start(self, work: Coroutine[object, object, None]) -> None:
        """Do it concurrently; ``work`` must deal with its own exceptions."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._freed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("work.failed", exc_info=error)

    async def finish(self, within_sec: float = FINISH_SEC) -> None:
        """Wait for what is in hand, even if we are being cancelled; then cancel the rest."""
        with anyio.CancelScope(shield=True):
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=within_sec)
            left = set(self._tasks)
            if left:
                log.warning("work.abandoned", count=len(left))
                for task in left:
                    task.cancel()
                await asyncio.wait(left)
