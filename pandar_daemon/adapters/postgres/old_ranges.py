"""What of the log is in files, for whoever reads the log."""

from __future__ import annotations

import asyncpg

from events.envelope import Recorded
from pandar_daemon.adapters.postgres.pool import Database
from pandar_daemon.ports.archive import Archive, Archived, ArchiveUnreadable, Span

_BATCH = 2_000
ARCHIVED = """
SELECT first_position, last_position, manifest, manifest_sha256 FROM archives
WHERE last_position > $1 ORDER BY first_position
"""
"""What of the log is archived beyond a position; `archived` reads its rows."""


class OldRanges:
    """Reads archived events by position and by stream."""

    def __init__(self, pool: Database, archive: Archive | None) -> None:
        """Read from ``archive`` what ``pool`` says is there; ``None`` where none can be reached."""
        self._pool = pool
        self._archive = archive
        self._ranges: list[Archived] = []

    async def read(self, *, after: int, up_to: int) -> list[Recorded]:
        """Return all events after a position and up to one that is archived, dense and in order.

        Raises `ArchiveUnreadable`.
        """
        if self._archive is None:
            raise ArchiveUnreadable(f"positions up to {up_to} are in archive files, not given here")
        found: list[Recorded] = []
        for one in await self._known(up_to):
            if after < min(one.span.last, up_to):
                found += await self._archive.read(one, after=after, limit=up_to - after)
                after = found[-1].position
        return found

    async def _known(self, up_to: int) -> list[Archived]:
        """Return the ranges, which only grow, up to a position at least."""
        last = self._ranges[-1].span.last if self._ranges else 0
        if last < up_to:
            rows = await self._pool.fetch(ARCHIVED, last)
            more = [one for one in map(archived, rows) if one not in self._ranges]
            self._ranges += more  # another reader may have added them meanwhile
        return self._ranges

    async def read_stream(
        self, stream: str, *, first: int, up_to: int, after_version: int, before_version: int
    ) -> list[Recorded]:
        """Return a stream's events between two versions, both excluded, and up to a position.

        ``first`` is the position it begins at. Raises `ArchiveUnreadable`.
        """
        found: list[Recorded] = []
        after = first - 1
        while after < up_to and (not found or found[-1].version + 1 < before_version):
            batch = await self.read(after=after, up_to=min(after + _BATCH, up_to))
            after = batch[-1].position
            found += [event for event in batch if event.stream == stream]
        return [event for event in found if after_version < event.version < before_version]


def archived(row: asyncpg.Record) -> Archived:
    """Return a row of `ARCHIVED`."""
    span = Span(row["first_position"], row["last_position"])
    return Archived(span=span, manifest=row["manifest"], sha256=row["manifest_sha256"])
