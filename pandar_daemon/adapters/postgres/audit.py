"""`LogAudit` on Postgres: the log's promises as queries that must find nothing."""

from __future__ import annotations

from uuid import UUID

from pandar_daemon.adapters.postgres.pool import Database
from pandar_daemon.ports import Key

_QUERIES = (
    """
    SELECT format('positions %s to %s are missing', before + 1, position - 1)
    FROM (SELECT position, lag(position, 1, 0::bigint) OVER (ORDER BY position) AS before
          FROM events) e
    WHERE position <> before + 1 LIMIT 20
    """,
    """
    SELECT format('log_head is at %s, the last event at %s', h.position, e.last)
    FROM log_head h, (SELECT coalesce(max(position), 0) AS last FROM events) e
    WHERE h.position <> e.last
    """,
    """
    SELECT format('stream %s has %s events but version %s', stream, count(*), max(version))
    FROM events GROUP BY stream HAVING count(*) <> max(version) OR min(version) <> 1 LIMIT 20
    """,
    """
    SELECT format('stream %s has version %s before version %s', stream, version, previous)
    FROM (SELECT stream, version,
              lag(version) OVER (PARTITION BY stream ORDER BY position) AS previous
          FROM events) e
    WHERE version <> coalesce(previous, 0) + 1 LIMIT 20
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
        return [row[0] for query in _QUERIES for row in await self._pool.fetch(query)]

    async def held(self) -> tuple[dict[int, UUID], set[Key]]:
        """Return the leases (task to execution) and the reserved keys there are."""
        leases = await self._pool.fetch("SELECT task_id, execution_id FROM leases")
        keys = await self._pool.fetch("SELECT scope, key FROM reservations")
        return {row[0]: UUID(int=row[1].int) for row in leases}, {Key(*row) for row in keys}
