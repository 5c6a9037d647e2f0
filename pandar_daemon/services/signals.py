"""Hints sent after an append, so that nobody has to wait for a poll. Losing one is harmless."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from events import subjects
from events import task as did
from events.task import Event
from pandar_daemon.domain.task_state import Task
from pandar_daemon.ports import Wire


class Signals:
    """Tells a runner at once what its next question would tell it anyway."""

    def __init__(self, wire: Wire) -> None:
        """Send over ``wire``."""
        self._wire = wire

    async def appended(self, before: object, events: Sequence[Event]) -> None:
        """Hint a task's runner that it is to be cancelled, or that something was decided."""
        if not isinstance(before, Task) or before.execution is None:
            return
        live = before.execution
        hint = next((hint for kinds, hint in _HINTS if _any(events, kinds)), None)
        if hint is not None:
            body = {"task_id": before.task_id, "execution_id": str(live.execution_id)}
            await self._wire.publish(
                subjects.control(live.runner_id, hint), msgspec.json.encode(body)
            )


_DECISIONS: Final = (
    did.TaskConfirmed,
    did.TaskDenied,
    did.ChangesRequested,
    did.ConfirmationExpired,
)
_HINTS: Final[tuple[tuple[tuple[type[Event], ...], str], ...]] = (
    ((did.CancelRequested,), "cancel"),
    (_DECISIONS, "answer"),
)


def _any(events: Sequence[Event], kinds: tuple[type[Event], ...]) -> bool:
    return any(isinstance(event, kinds) for event in events)
