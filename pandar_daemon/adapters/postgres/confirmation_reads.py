"""Confirmations as people see them, and their links."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from events.task import Json
from pandar_daemon.adapters.postgres import cursors
from pandar_daemon.adapters.postgres.outages import reading
from pandar_daemon.adapters.postgres.pool import Database
from pandar_daemon.adapters.postgres.queries import query
from pandar_daemon.ports import ApprovalLink, Page
from projections.base import plain
from projections.confirmation_tables import PENDING

_ORDER: Final = "deadline"

SHOWN: Final = (
    *("id", "task_id", "project_id", "execution_id", "gate", "card_sha256", "status"),
    *("requested_at", "expires_at", "on_timeout", "escalated", "quorum", "prevent_self_approval"),
    *("decided_by", "decided_at", "reason", "scope", "pattern", "uses", "until"),
)
"""The columns that are shown as they are."""


class PgConfirmationReads:
    """`ConfirmationReads` over asyncpg; raises `Unavailable` while the database is away."""

    def __init__(self, database: Database) -> None:
        """Read through ``database``."""
        self._database = database

    async def pending(
        self, projects: frozenset[int] | None, *, cursor: str | None, limit: int
    ) -> Page:
        """Return what waits for people in these projects; see `ConfirmationReads.pending`."""
        some = None if projects is None else sorted(projects)
        after, task_id = (None, 0) if cursor is None else _place(cursor)
        sql = query("select_open_confirmations")
        with reading():
            rows = await self._database.fetch(sql, some, after, task_id, limit + 1)
            shown = rows[:limit]
            items = await self._with_votes(shown)
        following = None
        if len(rows) > limit:
            last = shown[-1]
            following = cursors.written(
                _ORDER, last["expires_at"], last["task_id"], descending=False
            )
        return Page(items=items, next=following)

    async def of_task(self, task_id: int) -> list[Json]:
        """Return all confirmations of a task, in the order they were asked for."""
        return await self._all("select_confirmations", task_id)

    async def get(self, confirmation_id: UUID) -> Json | None:
        """Return one confirmation."""
        found = await self._all("select_confirmation", confirmation_id)
        return found[0] if found else None

    async def link(self, token_sha256: str) -> ApprovalLink | None:
        """Return the link whose text has this hash, also when it decides nothing any more."""
        with reading():
            row = await self._database.fetchrow(query("select_approval_link"), token_sha256)
        if row is None:
            return None
        return ApprovalLink(
            task_id=row["task_id"],
            project_id=row["project_id"],
            confirmation_id=UUID(int=row["confirmation_id"].int),
            approver=row["approver"],
        )

    async def _all(self, name: str, key: int | UUID) -> list[Json]:
        with reading():
            return await self._with_votes(await self._database.fetch(query(name), key))

    async def _with_votes(self, rows: Sequence[asyncpg.Record]) -> list[Json]:
        several = [row for row in rows if row["quorum"] > 1]
        tasks, ids = [row["task_id"] for row in several], [row["id"] for row in several]
        votes = await self._database.fetch(query("select_votes"), tasks, ids) if ids else []
        return [_shown(row, [vote for vote in votes if _is_for(vote, row)]) for row in rows]


def _place(cursor: str) -> tuple[datetime, int]:
    return cursors.read(cursor, _ORDER, datetime, descending=False)


def _is_for(vote: asyncpg.Record, confirmation: asyncpg.Record) -> bool:
    return bool(vote["confirmation_id"] == confirmation["id"])


def _shown(row: asyncpg.Record, votes: Sequence[asyncpg.Record]) -> Json:
    return {
        **{name: plain(row[name]) for name in SHOWN},
        **_end(row),
        "card": msgspec.json.decode(row["card"]),
        "votes": [
            {"by": vote["user_id"], "at": plain(vote["at"]), "reason": vote["reason"]}
            for vote in votes
        ],
    }


def _end(row: asyncpg.Record) -> Json:
    """Return how it ended with its task, when nothing was decided on it."""
    if row["status"] != PENDING or row.get("end_status") is None:
        return {}
    return {
        "status": row["end_status"],
        "decided_by": row["end_by"],
        "decided_at": plain(row["end_at"]),
        "reason": row["end_reason"],
    }
