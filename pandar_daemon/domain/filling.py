"""Who fills the disk: when to measure an execution anew, which one ends, and what it is told.

Measuring walks a tree, which costs; how much is free costs nothing to ask. An execution cannot be
past its limit before the disk has lost what it had left, so it is measured when half of that is
gone, and now and then anyway, for others may free what it takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from msgspec import Struct

EVERY_SEC = 30.0
"""After so long it is measured again, whatever the disk says."""
_REST = 10.0
"""A measure that took a second is not repeated for so many."""
_MB = 2**20


class Filled(Struct, frozen=True, kw_only=True):
    """What an execution takes, in bytes, ``began`` at first, by a measure that took ``took_sec``.

    ``free`` is what the disk had free when it was measured, ``at`` when that was.
    """

    began: int
    used: int
    free: int
    at: float
    took_sec: float = 0.0

    @property
    def growth(self) -> int:
        """Return what it took since it began."""
        return self.used - self.began


def is_due(filled: Filled | None, limit: int, free: int, at: float) -> bool:
    """Return whether an execution is to be measured again."""
    if filled is None:
        return True
    if at - filled.at < filled.took_sec * _REST:
        return False
    vanished = filled.free - free
    return (vanished > 0 and 2 * vanished >= limit - filled.used) or at - filled.at >= EVERY_SEC


def greatest(filled: Mapping[UUID, Filled]) -> UUID | None:
    """Return the execution to end for room: what grew most, ``None`` where there is none."""
    return max(filled, key=lambda of: (filled[of].growth, filled[of].used), default=None)


def over_limit(used: int, limit: int) -> str:
    """Return in words that an execution takes more than it may."""
    return f"used {_size(used)} of {_size(limit)} disk"


def no_room(growth: int, free: int, reserve: int) -> str:
    """Return in words why an execution ended that is within its limit."""
    return (
        f"the machine's disk is nearly full: {_size(max(free, 0))} are free where {_size(reserve)}"
        f" are kept; of all that run this task took most, {_size(max(growth, 0))}"
    )


def _size(count: int) -> str:
    """Return bytes as people say them, in the unit limits are stated in, 1 GB being 1024 MB."""
    megabytes = count / _MB
    return f"{megabytes / 1024:.1f} GB" if megabytes >= 1024 else f"{megabytes:.0f} MB"  # noqa: PLR2004 - MB of a GB
