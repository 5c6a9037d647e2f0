"""Which attempts of a task there were, which go on, and how much each wrote; from its events."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from events import codec
from events.envelope import Recorded
from events.task import (
    ExecutionLost,
    TaskCancelled,
    TaskCompleted,
    TaskDeleted,
    TaskFailed,
    TaskParked,
    TaskPaused,
    TaskRetried,
    TaskStarted,
)

UNKNOWN = -1
"""How much an attempt wrote when nobody could tell any more."""


class Runs:
    """The attempts of one task so far; `observe` its events in order."""

    def __init__(self) -> None:
        self._attempts: dict[UUID, int] = {}
        self._written: dict[int, int] = {}
        self._over = False
        self._waits = False  # it goes on, nobody knows when

    def observe(self, history: Iterable[Recorded]) -> None:
        """Take note of what happened."""
        for recorded in history:
            self._observe(recorded)

    def _observe(self, recorded: Recorded) -> None:
        event = codec.decode(recorded)
        match event:
            case TaskStarted():
                self._attempts[event.execution_id] = event.attempt
                self._over = self._waits = False
            case TaskParked() | TaskPaused():
                self._end(event.execution_id, event.output_bytes)
                self._waits = True
            case TaskCompleted() | TaskCancelled():
                self._end(event.execution_id, event.output_bytes)
                self._over = True
            case TaskFailed():
                self._end(event.execution_id, event.output_bytes)
                self._over = not event.will_retry
            case ExecutionLost():
                self._end(event.execution_id, UNKNOWN)
            case TaskRetried():
                self._over = False
            case TaskDeleted():
                self._over = True
            case _:
                pass

    def _end(self, execution_id: UUID | None, written: int) -> None:
        attempt = self._attempts.get(execution_id) if execution_id else None
        if attempt is not None:
            self._written.setdefault(attempt, written)

    @property
    def attempt(self) -> int:
        """Return the attempt to look at.

        That is the one that runs; between two, the next one; the last one at the end, and while
        a task is parked or paused; at least 1.
        """
        last = max(self._attempts.values(), default=0)
        between = last in self._written or not last
        return max(last, 1) if self._over or self._waits or not between else last + 1

    @property
    def running(self) -> int | None:
        """Return the attempt that has begun and not ended, if there is one."""
        last = max(self._attempts.values(), default=0)
        return last if last and last not in self._written and not self._over else None

    def started(self, attempt: int) -> bool:
        """Whether an attempt, or a later one, was started."""
        return attempt <= max(self._attempts.values(), default=0)

    def written(self, attempt: int) -> int | None:
        """Return how many bytes a past attempt wrote, perhaps `UNKNOWN`.

        ``None`` while more may come.
        """
        if attempt in self._written:
            return self._written[attempt]
        return UNKNOWN if self._over else None
