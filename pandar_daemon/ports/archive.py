"""Old ranges of the log in files: what the log and a folder of files have to offer for that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from events.envelope import Recorded
from pandar_daemon.domain.refusals import Unavailable

FORMAT = 1
"""The format of files and manifests; a reader refuses a greater one."""


class Span(Struct, frozen=True, order=True):
    """The positions from ``first`` to ``last``, both included."""

    first: int
    last: int

    @property
    def count(self) -> int:
        """Return how many positions these are."""
        return self.last - self.first + 1


class Block(Struct, frozen=True, array_like=True):
    """Where in the data file the events from ``position`` on begin, until the next block."""

    position: int
    offset: int


class Manifest(Struct, frozen=True, kw_only=True):
    """What a data file holds; ``previous`` is the SHA-256 of the manifest before it, in hex.

    So the last manifest's hash, which the log keeps, vouches for all of them.
    """

    format: int
    first_position: int
    last_position: int
    first_event_id: UUID
    last_event_id: UUID
    recorded_from: datetime
    recorded_to: datetime
    data_file: str
    data_bytes: int
    data_sha256: str
    blocks: tuple[Block, ...]
    previous: str | None

    @property
    def span(self) -> Span:
        """Return which positions it holds."""
        return Span(self.first_position, self.last_position)


class Archived(Struct, frozen=True, kw_only=True):
    """What the log keeps of a range that is in files: its manifest's file name and SHA-256."""

    span: Span
    manifest: str
    sha256: str


class ArchiveUnreadable(Unavailable):
    """A file of the archive is missing or damaged; names it and says what to do."""


class Archive(Protocol):
    """A folder of data files and manifests."""

    async def write(
        self, span: Span, events: AsyncIterator[list[Recorded]], previous: str | None
    ) -> Manifest:
        """Make the data file of a range, durably; one of an earlier try is replaced.

        Raises ``ValueError`` when the events are not exactly those of the range.
        """
        ...

    async def seal(self, manifest: Manifest) -> Archived:
        """Make the manifest's file, durably; one of an earlier try is replaced."""
        ...

    def events(self, archived: Archived) -> AsyncIterator[list[Recorded]]:
        """Iterate over a whole range in batches, the data file's hash checked at its end.

        Raises `ArchiveUnreadable`.
        """
        ...

    async def read(self, archived: Archived, *, after: int, limit: int) -> list[Recorded]:
        """Return at most ``limit`` events of a range after a position, dense and in order.

        Raises `ArchiveUnreadable`.
        """
        ...

    async def manifest(self, archived: Archived) -> Manifest:
        """Return a manifest that is what the log says it is; raises `ArchiveUnreadable`."""
        ...


class ArchivableLog(Protocol):
    """The log, for whoever may take old ranges out of it: one at a time."""

    async def archived(self) -> list[Archived]:
        """Return the ranges that are in files, in order and without a gap from position 1 on."""
        ...

    async def finished(self, before: datetime) -> list[Span]:
        """Return the oldest ranges, in order, that get no more events and are older than a time."""
        ...

    def events(self, span: Span) -> AsyncIterator[list[Recorded]]:
        """Iterate over a range in batches."""
        ...

    async def retire(self, archived: Archived) -> int:
        """Replace the oldest range by what is kept of it, and record where it is; all or nothing.

        Streams that go on stay. Returns how many events of all archived ranges stay. Raises
        ``ConnectionError`` when the log is too busy: nothing was changed.
        """
        ...
