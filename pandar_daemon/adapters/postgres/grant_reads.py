"""Standing grants, read."""

from __future__ import annotations

from uuid import UUID, uuid5

import asyncpg
import msgspec

from events.calls import Allowance
from events.grant import CreateGrant
from events.task import Json
from pandar_daemon.adapters.postgres.outages import reading
from pandar_daemon.adapters.postgres.pool import Database
from pandar_daemon.adapters.postgres.queries import query
from pandar_daemon.ports import Clock
from projections.base import plain


class PgGrantReads:
    """`GrantReads` over asyncpg; every method raises `Unavailable` while the database is away."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Read through ``database``; ``clock`` tells what has expired."""
        self._database = database
        self._clock = clock

    async def page(self, project_id: int) -> list[Json]:
        """Return the grants of a project, the newest first, those that are over too."""
        return [_shown(row) for row in await self._select(project_id, None)]

    async def get(self, grant_id: str) -> Json | None:
        """Return one grant."""
        rows = await self._select(None, grant_id)
        return _shown(rows[0]) if rows else None

    async def active(self, project_id: int) -> list[Allowance]:
        """Return what lets something pass now, the oldest first."""
        return [
            Allowance(
                gates=msgspec.json.decode(row["gates"]),
                pattern=row["pattern"],
                confirmation_id=str(row["confirmation_id"] or ""),
                grant_id=row["grant_id"],
            )
            for row in reversed(await self._select(project_id, None))
            if row["status"] == "active"
        ]

    async def owed(self) -> list[CreateGrant]:
        """Return grants that were approved with a confirmation and are not there yet."""
        with reading():
            rows = await self._database.fetch(query("select_owed_grants"))
        return [
            CreateGrant(
                grant_id=uuid5(UUID(int=row["id"].int), "grant"),
                project_id=row["project_id"],
                gates=msgspec.json.decode(row["gates"]) if row["gates"] else [row["gate"]],
                pattern=row["pattern"],
                reason=f"approved with confirmation {row['id']}",
                expires_at=row["until"],
                uses_max=row["uses"],
                confirmation_id=UUID(int=row["id"].int),
                by=row["decided_by"],
            )
            for row in rows
        ]

    async def _select(self, project_id: int | None, grant_id: str | None) -> list[asyncpg.Record]:
        with reading():
            return await self._database.fetch(
                query("select_grants"), project_id, grant_id, self._clock.now()
            )


def _shown(record: asyncpg.Record) -> Json:
    row = {name: plain(value) for name, value in record.items()}
    return {**row, "gates": msgspec.json.decode(record["gates"])}
