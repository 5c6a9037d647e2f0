"""`ArchivableLog` on Postgres, for the administrator: the daemon's own role may not do this."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

import asyncpg

from events.envelope import Recorded
from pandar_daemon.adapters.postgres.old_ranges import ARCHIVED, archived
from pandar_daemon.adapters.postgres.rows import COLUMNS, recorded
from pandar_daemon.ports.archive import Archived, Span

OVER: Final = ("task.completed", "task.failed", "task.cancelled", "task.deleted")
"""A stream whose last event is one of these is over; it may go on all the same, by a retry."""

BATCH: Final = 2_000
LOCK_TIMEOUT: Final = "2s"
"""How long appends may be held up by the swap of a partition that waits for a slow reader."""
TRIES: Final = 5

_LOCK: Final = 0x706172636869
_FINISHED = """
SELECT p.first_position, p.last_position FROM partitions p, log_head h
WHERE p.last_position < h.position
    AND p.first_position > archived_to()
ORDER BY p.first_position
"""
_YOUNG = """
SELECT EXISTS (
    SELECT FROM events WHERE position BETWEEN $1 AND $2 AND recorded_at >= $3
)
"""
_RANGE = f"SELECT {COLUMNS} FROM events WHERE position BETWEEN $1 AND $2 ORDER BY position"  # noqa: S608 - own columns


class AlreadyArchiving(Exception):
    """Another ``pandar archive`` works on this log: wait for its end."""


class PgArchivableLog:
    """`ArchivableLog` over one connection of the administrator."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        """Use a connection that holds the lock; see `archivable`."""
        self._connection = connection

    async def archived(self) -> list[Archived]:
        """Return the ranges that are in files; see `ArchivableLog.archived`."""
        return [archived(row) for row in await self._connection.fetch(ARCHIVED, 0)]

    async def finished(self, before: datetime) -> list[Span]:
        """Return the oldest ranges that can be archived; see `ArchivableLog.finished`."""
        found: list[Span] = []
        for row in await self._connection.fetch(_FINISHED):
            span = Span(row["first_position"], row["last_position"])
            if await self._connection.fetchval(_YOUNG, span.first, span.last, before):
                break
            found.append(span)
        return found

    async def events(self, span: Span) -> AsyncIterator[list[Recorded]]:
        """Iterate over a range in batches; see `ArchivableLog.events`."""
        for first in range(span.first, span.last + 1, BATCH):
            last = min(first + BATCH - 1, span.last)
            yield [recorded(row) for row in await self._connection.fetch(_RANGE, first, last)]

    async def retire(self, archived: Archived) -> int:
        """Replace the oldest range by what is kept of it; see `ArchivableLog.retire`."""
        span = archived.span
        for _ in range(TRIES):
            try:
                async with self._connection.transaction():
                    await self._connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                    kept = await self._connection.fetchval(
                        "SELECT retire_events($1, $2, $3, $4, $5)",
                        *(span.first, span.last, archived.manifest, archived.sha256, OVER),
                    )
                return int(kept)
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                await asyncio.sleep(1.0)  # let those pass that queued behind us
        msg = f"the log was never free for {LOCK_TIMEOUT}: end long transactions, then try again"
        raise ConnectionError(msg)


@asynccontextmanager
async def archivable(url: str) -> AsyncIterator[PgArchivableLog]:
    """Yield the log at an administrator's URL, for one archiver at a time.

    Raises `AlreadyArchiving`.
    """
    connection = await asyncpg.connect(
        url, server_settings={"application_name": "pandar archive", "timezone": "UTC"}, timeout=10
    )
    try:
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
            raise AlreadyArchiving("another pandar archive works on this log: wait for its end")
        yield PgArchivableLog(connection)
    finally:
        await connection.close()
