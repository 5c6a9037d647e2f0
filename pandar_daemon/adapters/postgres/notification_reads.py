"""Notifications as their users see them, and how far the notifier is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import asyncpg

from events.task import Json
from pandar_daemon.adapters.postgres import cursors
from pandar_daemon.adapters.postgres.outages import reading
from pandar_daemon.adapters.postgres.pool import Database
from pandar_daemon.adapters.postgres.queries import query
from pandar_daemon.ports import Page
from projections.base import plain

UNREAD_MAX: Final = 1_000
_ORDER: Final = "notification"

SHOWN: Final = (
    *("id", "type", "title", "content", "user_id", "task_id", "project_id"),
    *("confirmation_id", "created_at", "sent_at", "clicked_at", "expires_at"),
    *("decided_at", "outcome", "decided_by", "position"),
)
"""The columns a user sees."""


class PgNotificationReads:
    """`NotificationReads` over asyncpg; raises `Unavailable` while the database is away."""

    def __init__(self, database: Database) -> None:
        """Read through ``database``."""
        self._database = database

    async def page(
        self, user: str, *, unread: bool, kinds: frozenset[str], cursor: str | None, limit: int
    ) -> Page:
        """Return a user's notifications, newest first; raises `Invalid` for a cursor of others."""
        before = None
        if cursor is not None:
            _, before = cursors.read(cursor, _ORDER, int, descending=True)
        with reading():
            rows = await self._database.fetch(
                query("select_notifications"), user, before, unread, sorted(kinds), limit + 1
            )
            shown = rows[:limit]
            items = await self._with_deliveries(shown)
        following = None
        if len(rows) > limit:
            following = cursors.written(_ORDER, 0, shown[-1]["position"], descending=True)
        return Page(items=items, next=following)

    async def get(self, notification_id: UUID) -> Json | None:
        """Return one notification."""
        with reading():
            rows = await self._database.fetch(query("select_notification"), notification_id)
            items = await self._with_deliveries(rows)
        return items[0] if items else None

    async def unread(self, user: str) -> int:
        """Return how many a user has not read, counted up to 1,000."""
        with reading():
            sql = query("count_unread")
            return int(str(await self._database.fetchval(sql, user, UNREAD_MAX)))

    async def told_of(self, confirmation_id: UUID, user: str) -> list[UUID]:
        """Return the notifications by which a user was told of a confirmation."""
        with reading():
            rows = await self._database.fetch(query("select_told"), confirmation_id, user)
        return [UUID(int=row["id"].int) for row in rows]

    async def open(self, *, limit: int) -> list[UUID]:
        """Return notifications with something still to be sent, those due first."""
        with reading():
            rows = await self._database.fetch(query("select_open_notifications"), limit)
        return [UUID(int=row["id"].int) for row in rows]

    async def _with_deliveries(self, rows: Sequence[asyncpg.Record]) -> list[Json]:
        ids = [row["id"] for row in rows]
        found = await self._database.fetch(query("select_deliveries"), ids) if ids else []
        return [_shown(row, [one for one in found if _is_of(one, row)]) for row in rows]


def _is_of(delivery: asyncpg.Record, notification: asyncpg.Record) -> bool:
    return bool(delivery["notification_id"] == notification["id"])


def _shown(row: asyncpg.Record, deliveries: Sequence[asyncpg.Record]) -> Json:
    return {
        **{name: plain(row[name]) for name in SHOWN},
        "is_read": row["read_by_user"],
        "deliveries": [
            {name: plain(value) for name, value in one.items() if name != "notification_id"}
            for one in deliveries
        ],
    }


class PgCheckpoints:
    """`Checkpoints` over asyncpg; raises ``ConnectionError`` while the database is away."""

    def __init__(self, database: Database) -> None:
        """Keep them in ``database``."""
        self._database = database

    async def position(self, follower: str) -> int:
        """Return the position up to which a follower has done its work."""
        sql = "SELECT position FROM followers WHERE follower = $1"
        return int(str(await self._database.fetchval(sql, follower) or 0))

    async def move(self, follower: str, position: int) -> None:
        """Keep that it is at a position; never moves back."""
        await self._database.execute(query("move_follower"), follower, position)
