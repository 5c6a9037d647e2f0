"""The API's view of tasks, from the generation of each read model that is being served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import asyncpg
import msgspec

from events.task import TERMINAL, Json, Status
from pandar_daemon.adapters.postgres import cursors
from pandar_daemon.adapters.postgres.outages import reading
from pandar_daemon.adapters.postgres.pool import Database
from pandar_daemon.adapters.postgres.queries import query
from pandar_daemon.adapters.postgres.task_letters import Letters
from pandar_daemon.adapters.postgres.task_search import (
    COLUMNS,
    MANY,
    MATCHES_MAX,
    TaskQuery,
)
from pandar_daemon.adapters.postgres.task_spans import Known, Span
from pandar_daemon.ports import Clock, Page, TaskFilter
from projections import executions, tasks, timeline
from projections.base import plain

_ONE: Final = f"SELECT {COLUMNS} FROM views.tasks t WHERE id = $1 AND NOT deleted"  # noqa: S608 - our own names
_EXECUTIONS: Final = (
    f"SELECT {', '.join(name for name, _ in executions.TABLE.columns)}"  # noqa: S608 - our own names
    " FROM views.executions WHERE task_id = $1 ORDER BY attempt, execution_id"
)
_TIMELINE: Final = (
    f"SELECT {', '.join(name for name, _ in timeline.TABLE.columns)}"  # noqa: S608 - our own names
    " FROM views.timeline WHERE task_id = $1 AND position > $2 ORDER BY position"
)


class PgTaskReads:
    """`TaskReads` over asyncpg; every method raises `Unavailable` while the database is away."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Read through ``database``; ``clock`` tells whether a retry is due."""
        self._database = database
        self._clock = clock
        self._letters = Letters(database)

    async def page(self, wanted: TaskFilter) -> Page:
        """Return one page; see `TaskReads.page`."""
        asked = TaskQuery(wanted)
        with reading():
            matches = await self._matches(asked) if wanted.search else None
            sql, arguments = asked.page(matches)
            rows = await self._database.fetch(sql, *arguments)
            total = await self._total(asked, matches) if wanted.page is not None else None
        shown = rows[: wanted.limit]
        following = None
        if len(rows) > len(shown):
            last = shown[-1]
            following = cursors.written(
                wanted.sort_by, last["sort_key"], last["id"], descending=wanted.descending
            )
        return Page(items=[self._task(row) for row in shown], next=following, total=total)

    async def _matches(self, asked: TaskQuery) -> list[int] | None:
        """Return the tasks searched for, similar ones if there are none; ``None`` for too many.

        Where a page needs the newest only, the others may be left out.
        """
        known = await self._known(asked)
        if known.tasks < MANY:
            return await self._all_matches(asked)
        asked.frequent = await self._letters.among(known.tasks)
        found: list[int] = []
        span: Span | None = known.first()
        while span is not None:
            more = await self._ids(*asked.within(span, known.newest))
            if len(more) > asked.too_many:
                span = known.shorter(span) if asked.is_newest_first else None
                if span is None:
                    return None
                continue
            found += more
            if len(found) > MATCHES_MAX:
                return None
            if len(found) >= asked.enough:
                break
            span = known.following(span, len(found), asked.enough)
        return found or await self._all_matches(asked)

    async def _known(self, asked: TaskQuery) -> Known:
        sql, arguments = asked.known()
        row = await self._database.fetchrow(sql, *arguments)
        assert row is not None  # noqa: S101 - a SELECT without FROM has one row
        return Known(**row)

    async def _all_matches(self, asked: TaskQuery) -> list[int] | None:
        found = await self._ids(*asked.literal())
        similar = asked.similar()
        if not found and similar is not None:
            found = (await self._ids(*similar))[:MATCHES_MAX]
        return None if len(found) > MATCHES_MAX else found

    async def _ids(self, sql: str, arguments: Sequence[object]) -> list[int]:
        return [row["id"] for row in await self._database.fetch(sql, *arguments)]

    async def _number(self, sql: str, arguments: Sequence[object] = ()) -> int:
        return int(str(await self._database.fetchval(sql, *arguments)))

    async def _total(self, asked: TaskQuery, matches: list[int] | None) -> int:
        sql, arguments = asked.total(matches)
        return await self._number(sql, arguments)

    async def get(self, task_id: int) -> Json | None:
        """Return one task that is not deleted."""
        with reading():
            row = await self._database.fetchrow(_ONE, task_id)
        return None if row is None else self._task(row)

    def _task(self, record: asyncpg.Record) -> Json:
        row = dict(record)
        row["metadata"] = _decoded(row["metadata"])
        return tasks.shown(row, self._clock.now(), key_held=bool(row["key_held"]))

    async def stats(self, projects: frozenset[int] | None) -> Json:
        """Return counts per status, success rate over terminal tasks in percent, durations."""
        some = None if projects is None else sorted(projects)
        with reading():
            counts = await self._database.fetch(query("count_tasks"), some)
            took = await self._database.fetchrow(query("sum_durations"), some)
        by_status = {status.value: 0 for status in Status} | {
            row["status"]: int(row["tasks"]) for row in counts
        }
        ended = sum(by_status[status.value] for status in TERMINAL)
        return {
            "total_tasks": sum(by_status.values()),
            **{f"{status}_tasks": number for status, number in by_status.items()},
            "success_rate": 100 * by_status[Status.COMPLETED] / ended if ended else 0.0,
            **_durations(took),
        }

    async def executions(self, task_id: int) -> list[Json]:
        """Return the attempts of a task, first to last."""
        with reading():
            rows = await self._database.fetch(_EXECUTIONS, task_id)
        return [_shown(row, "cut", "usage") for row in rows]

    async def timeline(
        self, task_id: int, *, after: int, limit: int, newest: bool = False
    ) -> list[Json]:
        """Return what happened to a task after a position, in order; see `TaskReads.timeline`."""
        order = " DESC LIMIT $3" if newest else " LIMIT $3"
        with reading():
            rows = await self._database.fetch(_TIMELINE + order, task_id, after, limit)
        return [_shown(row, "data") for row in (reversed(rows) if newest else rows)]


def _durations(row: asyncpg.Record | None) -> Json:
    number = 0 if row is None else int(row["executions"])
    total = 0.0 if row is None else int(row["duration_ms"]) / 1000
    average = total / number if number else None
    return {"finished_executions": number, "total_duration": total, "average_duration": average}


def _shown(record: asyncpg.Record, *json: str) -> Json:
    row = {name: plain(value) for name, value in record.items()}
    return row | {name: _decoded(row[name]) for name in json}


def _decoded(value: object) -> object:
    return msgspec.json.decode(value) if isinstance(value, str) else None
