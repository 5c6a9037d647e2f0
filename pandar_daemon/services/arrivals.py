"""Wakes waiting claims: at once for a task that was queued, else when the read model knows more."""

from __future__ import annotations

import asyncio

from events.envelope import Recorded
from events.ids import id_of
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.domain.task_state import Task
from pandar_daemon.ports import Live, ProjectReads
from pandar_daemon.services.dispatcher import Dispatcher
from pandar_daemon.services.streams import Streams

QUEUED = frozenset({"task.start_requested", "task.retried", "task.resume_requested"})
"""The task itself may be given now."""
FREED = frozenset(
    {
        "task.completed",
        "task.failed",
        "task.cancelled",
        "task.execution_lost",
        "task.parked",
        "task.paused",
    }
)
"""A concurrency key may be free for another task, and this one may be queued again."""
LOOK_SEC = 0.010
PATIENCE_SEC = 1.0


class Arrivals:
    """Follows the live events."""

    def __init__(
        self, live: Live, reads: ProjectReads, streams: Streams, dispatcher: Dispatcher
    ) -> None:
        """Wake ``dispatcher``; for what only ``reads`` can name, once those have caught up."""
        self._live = live
        self._reads = reads
        self._streams = streams
        self._dispatcher = dispatcher

    async def run(self) -> None:
        """Wake claims until cancelled. Missing an event is harmless: claims poll."""
        seen = 0
        async with self._live.follow() as events:
            async for event in events:
                if event.type in QUEUED and not self._is_past(event):
                    self._dispatcher.work_arrived(int(id_of(event.stream)))
                elif event.type in FREED and event.position > seen and self._may_free(event):
                    seen = max(seen, await self._caught_up(event.position))
                    self._dispatcher.work_arrived()

    def _is_past(self, event: Recorded) -> bool:
        """Whether this process knows that more has happened to the task: it was given, say."""
        known = self._streams.known(event.stream)
        return known is not None and known.version > event.version

    def _may_free(self, event: Recorded) -> bool:
        """False for a task known to be over that never had a key: nobody waits for it."""
        known = self._streams.known(event.stream)
        if known is None or known.version < event.version or not isinstance(known.state, Task):
            return True
        return event.type == "task.execution_lost" or bool(known.state.policy.concurrency_key)

    async def _caught_up(self, position: int) -> int:
        reached = 0
        try:
            async with asyncio.timeout(PATIENCE_SEC):
                while (reached := await self._reads.position()) < position:  # noqa: ASYNC110 - in Postgres
                    await asyncio.sleep(LOOK_SEC)
        except (TimeoutError, Unavailable):
            pass  # claims poll
        return reached
