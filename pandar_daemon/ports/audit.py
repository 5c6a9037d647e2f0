"""Reading everything back, to see whether the promises are kept."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from events.envelope import Recorded
from pandar_daemon.ports.archive import Archived
from pandar_daemon.ports.log import Key
from projections.base import ReadModel, Rows


class LogAudit(Protocol):
    """What the store itself can tell of the log's integrity."""

    async def faults(self) -> list[str]:
        """Return what contradicts the log's promises, a line each: gaps, versions, the head."""
        ...

    async def archived(self) -> list[Archived]:
        """Return the ranges that are in files, in order."""
        ...

    async def held(self) -> tuple[dict[int, UUID], set[Key]]:
        """Return the leases (task to execution) and the reserved keys there are."""
        ...


class ServedRows(Protocol):
    """Reads back what a read model serves."""

    async def rows(self, model: ReadModel) -> tuple[int, dict[str, Rows]]:
        """Return the position of the generation being served, and all its rows, at one moment.

        Raises `CheckpointLost` when none is being served yet.
        """
        ...


class BusAudit(Protocol):
    """Reads back what is on the bus."""

    async def stored(self, epoch: int, *, after: int, limit: int) -> list[Recorded]:
        """Return events of the stream after a sequence, in order; raises `Unavailable`."""
        ...
