"""Secrets of projects, read: their names, and the data keys they are sealed with."""

from __future__ import annotations

from events.secret import DataKey
from events.task import Json
from pandar_daemon.adapters.postgres.outages import reading
from pandar_daemon.adapters.postgres.pool import Database
from pandar_daemon.adapters.postgres.queries import query
from pandar_daemon.ports import KeyInUse
from projections.base import plain


class PgSecretReads:
    """`SecretReads` over asyncpg; every method raises `Unavailable` while the database is away."""

    def __init__(self, database: Database) -> None:
        """Read through ``database``."""
        self._database = database

    async def page(self, project_id: int) -> list[Json]:
        """Return what is known of a project's secrets, by name."""
        with reading():
            rows = await self._database.fetch(query("select_secrets"), project_id)
        return [{name: plain(value) for name, value in row.items()} for row in rows]

    async def keys(self) -> list[KeyInUse]:
        """Return the data key of each project that has one, by project."""
        with reading():
            rows = await self._database.fetch(query("select_data_keys"))
        return [
            KeyInUse(
                project_id=row["project_id"],
                key=DataKey(key_id=row["key_id"], sealed=row["sealed"]),
                secrets=row["secrets"],
            )
            for row in rows
        ]
