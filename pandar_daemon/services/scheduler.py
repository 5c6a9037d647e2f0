"""The scheduler: when a task's time has come, it is started. Time becomes commands."""

from __future__ import annotations

import structlog

from events import subjects
from pandar_daemon.domain.refusals import Refusal, Unavailable
from pandar_daemon.ports import Clock, Leadership, WorkQueue
from pandar_daemon.services.asking import Asker
from pandar_daemon.services.leading import Lead

log = structlog.get_logger(__name__)

TICK_SEC = 1.0
LEAD_SEC = 10.0


class Scheduler:
    """One of these is active at a time; a second would find every start already asked for."""

    def __init__(
        self,
        *,
        queue: WorkQueue,
        leadership: Leadership,
        asker: Asker,
        clock: Clock,
        holder: str,
    ) -> None:
        """Send starts through ``asker`` while ``holder`` leads."""
        self._queue = queue
        self._lead = Lead(leadership, clock, "scheduler", holder)
        self._asker = asker

    async def run(self) -> None:
        """Start what is due until cancelled."""
        await self._lead.run(self._look, TICK_SEC)

    async def _look(self) -> bool:
        await self._lead.look(LEAD_SEC, self._tick)
        return False

    async def _tick(self) -> bool:
        for task_id, due_at in await self._queue.due(limit=100):
            command_id = f"system-due-{task_id}-{int(due_at.timestamp() * 1000)}"
            try:
                await self._asker.ask(
                    subjects.command("task.start", None, task_id), b"{}", command_id
                )
            except Unavailable:
                raise
            except Refusal as refusal:
                log.info("scheduler.refused", task=task_id, reason=str(refusal))
        return True
