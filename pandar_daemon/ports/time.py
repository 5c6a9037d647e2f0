"""Time and randomness."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID


class Clock(Protocol):
    """The only source of time and randomness."""

    def now(self) -> datetime:
        """Return the present as an aware UTC datetime."""
        ...

    def boottime(self) -> float:
        """Return seconds on a clock that never jumps and counts suspended time."""
        ...

    def new_id(self) -> UUID:
        """Return a fresh UUIDv7."""
        ...
