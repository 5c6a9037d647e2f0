"""Projects, who may see them, and how far the read models are."""

from __future__ import annotations

import asyncpg

from events.task import Json
from pandar_daemon.adapters.postgres.outages import reading
from pandar_daemon.adapters.postgres.pool import Database
from pandar_daemon.adapters.postgres.queries import query
from projections.base import plain
from projections.models import MODELS


class PgProjectReads:
    """`ProjectReads` over asyncpg; every method raises `Unavailable` while the database is away."""

    def __init__(self, database: Database) -> None:
        """Read through ``database``."""
        self._database = database

    async def page(self, projects: frozenset[int] | None) -> list[Json]:
        """Return the projects, by id."""
        some = None if projects is None else sorted(projects)
        with reading():
            rows = await self._database.fetch(query("select_projects"), some)
        return [_shown(row) for row in rows]

    async def get(self, project_id: int) -> Json | None:
        """Return one project with its members."""
        with reading():
            rows = await self._database.fetch(query("select_projects"), [project_id])
            members = await self._database.fetch(query("select_members"), project_id)
        return {**_shown(rows[0]), "members": [_shown(row) for row in members]} if rows else None

    async def roles(self, user: str) -> dict[int, str]:
        """Return the user's role (``owner``, ``manager``…) in each project they belong to."""
        with reading():
            rows = await self._database.fetch(query("select_roles"), user)
        return {row["project_id"]: row["role"] for row in rows}

    async def position(self) -> int:
        """Return the position up to which all live read models are complete."""
        with reading():
            return int(str(await self._database.fetchval(query("select_position"), len(MODELS))))


def _shown(record: asyncpg.Record) -> Json:
    return {name: plain(value) for name, value in record.items()}
