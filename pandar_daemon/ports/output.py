"""The output of what runs: spooled, published, read again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from events.task import Cut


class OutputKey(Struct, frozen=True, kw_only=True):
    """Whose output it is."""

    project_id: int
    task_id: int
    attempt: int


class Chunk(Struct, frozen=True, kw_only=True):
    """At most 64 KiB of output, beginning ``offset`` bytes into it."""

    offset: int
    data: bytes


class Outputs(Protocol):
    """Agent output on the bus, within its retention."""

    async def write(self, key: OutputKey, execution_id: UUID, chunks: Sequence[Chunk]) -> None:
        """Store chunks durably, in order; repeating one already stored is harmless.

        Raises `Unavailable` when the bus is away: some may be stored.
        """
        ...

    def read(self, key: OutputKey, *, start: int = 0) -> AsyncIterator[Chunk]:
        """Iterate over what is stored from byte ``start`` on, without overlap, then end."""
        ...

    async def size(self, key: OutputKey) -> int:
        """Return the offset after the last byte stored, 0 when there is none.

        Raises `Unavailable` when the bus is away.
        """
        ...

    def follow(
        self, key: OutputKey, *, start: int = 0
    ) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """Like `read`, then go on with what arrives; ends only when the caller stops."""
        ...


class Spool(Protocol):
    """The output of one execution on its way to the bus; on disk, so that it outlives us.

    It keeps the first half of its limit and the last; the rest is dropped and named by `cut`.
    """

    key: OutputKey
    execution_id: UUID

    def append(self, data: bytes) -> None:
        """Add what came next; raises ``OSError`` when the disk is full."""
        ...

    def seal(self) -> Cut | None:
        """Say that nothing more comes; return what was dropped. Idempotent."""
        ...

    async def unpublished(self) -> list[Chunk]:
        """Wait for, and return, the next chunks to publish; empty when all of it is."""
        ...

    def acknowledge(self, end: int) -> None:
        """Never return bytes before this offset again, not even after a restart."""
        ...

    def remove(self) -> None:
        """Delete it from the disk. Idempotent."""
        ...


class Spools(Protocol):
    """The spools of this runner."""

    def create(self, key: OutputKey, execution_id: UUID, *, limit_bytes: int) -> Spool:
        """Return an empty one that keeps at most so much."""
        ...

    def recover(self) -> Sequence[Spool]:
        """Return, sealed, what a killed incarnation of this runner left unpublished."""
        ...
