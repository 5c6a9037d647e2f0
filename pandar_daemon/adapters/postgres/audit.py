"""`LogAudit` on Postgres: the log's promises as queries that must find nothing."""

from __future__ import annotations

from uuid import UUID

from pandar_daemon.adapters.postgres.old_ranges import ARCHIVED, archived
from pandar_daemon.adapters.postgres.pool import Database
from pandar_daemon.ports import Key
from pandar_daemon.ports.archive import Archived

SCAN_SEC = 3_600.0
"""How long one look over the whole log may take."""
_QUERIES = (
    """
    SELECT format('archived ranges leave out %s to %s', before + 1, first_position - 1)
    FROM (SELECT first_position, lag(last_position, 1, 0::bigint) OVER (ORDER BY first_position)
              AS before
          FROM archives) a
    WHERE first_position <> before + 1 LIMIT 20
    """,
    """
    SELECT format('positions %s to %s are missing', before + 1, position - 1)
    FROM (SELECT position, lag(position, 1, archived_to()) OVER (ORDER BY position) AS before
          FROM events WHERE position > archived_to()) e
    WHERE position <> before + 1 LIMIT 20
    """,
    """
    SELECT format('log_head is at %s, the last event at %s', h.position, e.last)
    FROM log_head h, (SELECT coalesce(max(position), archived_to()) AS last FROM events) e
    WHERE h.position <> e.last
    """,
    # Of a stream with archived events the table has the last ones, or none.
    """
    SELECT format('stream %s is said to have version %s at %s to %s, but has %s events up to'
                  ' version %s at %s to %s',
                  coalesce(s.stream, e.stream), s.version, s.first_position, s.last_position,
                  e.events, e.last, e.first_position, e.last_position)
    FROM streams s FULL JOIN (
        SELECT stream, count(*) AS events, min(version) AS first, max(version) AS last,
            min(position) AS first_position, max(position) AS last_position
        FROM events GROUP BY stream
    ) e ON e.stream = s.stream
    WHERE s.stream IS NULL
        OR (e.stream IS NULL AND s.last_position > archived_to())
        OR (s.version, s.last_position) <> (e.last, e.last_position)
        OR e.last - e.first + 1 <> e.events
        OR (e.first <> 1 AND s.first_position > archived_to())
        OR (e.first = 1 AND s.first_position <> e.first_position)
    LIMIT 20
    """,
    """
    SELECT format('stream %s has version %s before version %s', stream, version, previous)
    FROM (SELECT stream, version,
              lag(version) OVER (PARTITION BY stream ORDER BY position) AS previous
          FROM events) e
    WHERE version <> previous + 1 LIMIT 20
    """,
    """
    SELECT format('event %s has no receipt of its command %s', e.position, e.command_id)
    FROM events e LEFT JOIN commands c USING (command_id)
    WHERE c.command_id IS NULL OR c.stream <> e.stream LIMIT 20
    """,
)


class PgLogAudit:
    """`LogAudit` over asyncpg."""

    def __init__(self, pool: Database) -> None:
        """Use ``pool`` for every call."""
        self._pool = pool

    async def faults(self) -> list[str]:
        """Return what contradicts the log's promises, a line each: gaps, versions, the head."""
        return [
            row[0]
            for query in _QUERIES
            for row in await self._pool.fetch(query, timeout_sec=SCAN_SEC)
        ]

    async def archived(self) -> list[Archived]:
        """Return the ranges that are in files, in order."""
        return [archived(row) for row in await self._pool.fetch(ARCHIVED, 0)]

    async def held(self) -> tuple[dict[int, UUID], set[Key]]:
        """Return the leases (task to execution) and the reserved keys there are."""
        leases = await self._pool.fetch("SELECT task_id, execution_id FROM leases")
        keys = await self._pool.fetch("SELECT scope, key FROM reservations")
        return {row[0]: UUID(int=row[1].int) for row in leases}, {Key(*row) for row in keys}
