"""Hints sent after an append, so that nobody has to wait for a poll. Losing one is harmless."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from events import subjects
from events import task as did
from events.task import Event
from pandar_daemon.domain.project import Project
from pandar_daemon.domain.task_state import Task
from pandar_daemon.ports import Wire


class Signals:
    """Tells a runner at once what its next renewal would tell it anyway."""

    def __init__(self, wire: Wire) -> None:
        """Send over ``wire``."""
        self._wire = wire

    async def appended(self, before: Task | Project, events: Sequence[Event]) -> None:
        """Hint a task's runner that it is to be cancelled, if that is what happened."""
        if not isinstance(before, Task) or before.execution is None:
            return
        if any(isinstance(event, did.CancelRequested) for event in events):
            live = before.execution
            body = {"task_id": before.task_id, "execution_id": str(live.execution_id)}
            await self._wire.publish(
                subjects.control(live.runner_id, "cancel"), msgspec.json.encode(body)
            )
