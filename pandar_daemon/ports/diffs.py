"""What tasks changed, beyond the life of their runners."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from pandar_daemon.domain.changes import Changes


class DiffKey(Struct, frozen=True, kw_only=True):
    """Which checkpoint of which task: ``2-1`` is the first of the second attempt."""

    project_id: int
    task_id: int
    checkpoint: str


class Diff(Struct, frozen=True, kw_only=True):
    """What was changed, and the patch that changes it."""

    changes: Changes
    patch: bytes


class Diffs(Protocol):
    """The patches of checkpoints on the bus, within their retention."""

    async def write(self, key: DiffKey, diff: Diff) -> None:
        """Store it durably; repeating it is harmless.

        Raises `Unavailable` when the bus is away: then it may be stored.
        """
        ...

    async def read(self, key: DiffKey) -> Diff | None:
        """Return it whole, ``None`` when it was never stored or is kept no longer.

        Raises `Unavailable` when the bus is away.
        """
        ...
