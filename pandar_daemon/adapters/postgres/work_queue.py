"""Who runs next, and what time has made due."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pandar_daemon.adapters.postgres.outages import reading
from pandar_daemon.adapters.postgres.pool import Database
from pandar_daemon.adapters.postgres.queries import query
from pandar_daemon.ports import Clock


class PgWorkQueue:
    """`WorkQueue` over asyncpg; every method raises `Unavailable` while the database is away.

    What it returns may be a moment old: whoever acts on it is judged by the log.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        """Read through ``database``; ``clock`` tells what is due."""
        self._database = database
        self._clock = clock

    async def candidates(self, *, limit: int) -> list[int]:
        """Return queued task ids, best first: priority, then age; none whose key is held."""
        with reading():
            rows = await self._database.fetch(query("select_candidates"), self._clock.now(), limit)
        return [row["id"] for row in rows]

    async def due(self, *, limit: int) -> list[tuple[int, datetime]]:
        """Return tasks whose ``scheduled_at`` has come and that nobody started."""
        with reading():
            rows = await self._database.fetch(query("select_due"), self._clock.now(), limit)
        return [(row["id"], row["scheduled_at"]) for row in rows]

    async def expired_confirmations(self, *, limit: int) -> list[tuple[int, UUID]]:
        """Return the tasks whose pending confirmation is past its deadline."""
        with reading():
            rows = await self._database.fetch(
                query("select_expired_confirmations"), self._clock.now(), limit
            )
        return [(row["id"], UUID(int=row["confirmation_id"].int)) for row in rows]
