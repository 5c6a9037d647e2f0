"""What a runner claims before it has a slot for it: the next of a line of brief commands.

From the end of an execution until the next is claimed, a slot stands empty. Where commands take a
blink that is much of the time, so a runner whose last executions all were brief claims as many
again as it has slots, and begins them one by one as slots become free.

A claim promises nothing. What waits here is not renewed, and of a lease that was never renewed the
daemon believes that nothing was begun: should all slots be taken for long after all, or the runner
go down, others are given it when the lease is over, as if nobody ever had it.
"""

from __future__ import annotations

from collections import deque
from typing import Final
from uuid import UUID

from events.running import Assignment
from pandar_daemon.ports import Clock

BRIEF_SEC: Final = 0.25
"""What takes no longer is brief."""
SAMPLE: Final = 16
"""So many executions in a row must have been."""


class Ahead:
    """A line of executions, and how long those before them took."""

    def __init__(self, clock: Clock, slots: int) -> None:
        """Wait for nothing yet."""
        self._clock = clock
        self._slots = slots
        self._began: dict[UUID, float] = {}
        self._lasted: deque[float] = deque(maxlen=SAMPLE)
        self._waiting: dict[UUID, Assignment] = {}

    def began(self, execution_id: UUID) -> None:
        """Take note that an execution took a slot."""
        self._began[execution_id] = self._clock.boottime()

    def ended(self, execution_id: UUID) -> None:
        """Take note that it takes none any more; once is enough, more does no harm."""
        began = self._began.pop(execution_id, None)
        if began is not None:
            self._lasted.append(self._clock.boottime() - began)

    @property
    def room(self) -> int:
        """How many more may be claimed while no slot is free: none unless all is brief."""
        return self._slots - self.waiting if self._is_brief() else 0

    def _is_brief(self) -> bool:
        now = self._clock.boottime()
        return (
            len(self._lasted) == SAMPLE
            and max(self._lasted) <= BRIEF_SEC
            and all(now - began <= BRIEF_SEC for began in self._began.values())
        )

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def add(self, assignment: Assignment) -> None:
        """Let it wait, after those that do."""
        self._waiting[assignment.execution_id] = assignment

    def take(self) -> Assignment | None:
        """Return the one that waited longest, which waits no more; ``None`` when none does."""
        if not self._waiting:
            return None
        return self._waiting.pop(next(iter(self._waiting)))
