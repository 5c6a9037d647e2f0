"""Time that passes when a test says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from events.ids import uuid7


class ManualClock:
    """A `Clock` that stands still; ids are valid UUIDv7s, each greater than the one before."""

    def __init__(self, now: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) -> None:
        self._now = now
        self._boottime = 1000.0
        self._made = 0

    def now(self) -> datetime:
        """Return the time it was last set to."""
        return self._now

    def boottime(self) -> float:
        """Return seconds that move with `advance` alone."""
        return self._boottime

    def new_id(self) -> UUID:
        """Return the next id: the same ones in every run."""
        self._made += 1
        return uuid7(int(self._now.timestamp() * 1000), self._made.to_bytes(10, "big"))

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self._now += timedelta(seconds=seconds)
        self._boottime += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock forth or back, as an administrator or NTP would."""
        self._now += timedelta(seconds=seconds)
