"""Wakes waiting claims once the read model they pick from knows of new work."""

from __future__ import annotations

import asyncio

from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import Live, ProjectReads
from pandar_daemon.services.dispatcher import Dispatcher

WORK = frozenset(
    {
        "task.start_requested",
        "task.retried",
        "task.completed",
        "task.failed",
        "task.cancelled",
        "task.execution_lost",
    }
)
"""What may make a task ready: it was queued, or a concurrency key was freed."""
LOOK_SEC = 0.010
PATIENCE_SEC = 1.0


class Arrivals:
    """Follows the live events."""

    def __init__(self, live: Live, reads: ProjectReads, dispatcher: Dispatcher) -> None:
        """Wake ``dispatcher`` once ``reads`` has caught up."""
        self._live = live
        self._reads = reads
        self._dispatcher = dispatcher

    async def run(self) -> None:
        """Wake claims until cancelled. Missing an event is harmless: claims poll."""
        seen = 0
        async with self._live.follow() as events:
            async for event in events:
                if event.type in WORK and event.position > seen:
                    seen = max(seen, await self._caught_up(event.position))
                    self._dispatcher.work_arrived()

    async def _caught_up(self, position: int) -> int:
        reached = 0
        try:
            async with asyncio.timeout(PATIENCE_SEC):
                while (reached := await self._reads.position()) < position:  # noqa: ASYNC110 - in Postgres
                    await asyncio.sleep(LOOK_SEC)
        except (TimeoutError, Unavailable):
            pass  # claims poll
        return reached
