"""The one place that reads clocks and randomness."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from events.ids import uuid7

if TYPE_CHECKING:
    from uuid import UUID

_BOOTTIME = time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """Return the present as an aware UTC datetime."""
        return datetime.now(UTC)

    def boottime(self) -> float:
        """Return seconds on a clock that never jumps and counts suspended time."""
        return time.clock_gettime(_BOOTTIME)

    def new_id(self) -> UUID:
        """Return a fresh UUIDv7."""
        return uuid7(time.time_ns() // 1_000_000, os.urandom(10))
