"""Usage and cost, summed."""

from __future__ import annotations

from typing import Final

from events.task import Json
from pandar_daemon.adapters.postgres.outages import reading
from pandar_daemon.adapters.postgres.pool import Database
from pandar_daemon.adapters.postgres.queries import query
from pandar_daemon.ports import UsageBy, UsageFilter
from projections.usage import COUNTED

_COLUMN: Final = {
    UsageBy.DAY: "day",
    UsageBy.AGENT: "agent",
    UsageBy.PROJECT: "project_id",
    UsageBy.TASK: "task_id",
}
_NUMBERS: Final = frozenset({"project_id", "task_id"})
_SHOWN: Final = {"cpu_ms": ("cpu_sec", 1_000), "cost_micros": ("cost_usd", 1_000_000)}


class PgUsageReads:
    """`UsageReads` over asyncpg; raises `Unavailable` while the database is away."""

    def __init__(self, database: Database) -> None:
        """Read through ``database``."""
        self._database = database

    async def sums(self, wanted: UsageFilter) -> Json:
        """Return sums of what ended in these days, and the total; see `UsageReads.sums`."""
        some = None if wanted.projects is None else sorted(wanted.projects)
        column = _COLUMN[wanted.by]
        asked = (some, wanted.agent, wanted.first, wanted.last, wanted.limit + 2)
        with reading():
            if wanted.by is UsageBy.TASK:
                rows = await self._database.fetch(query("sum_usage_of_tasks"), *asked)
            else:
                rows = await self._database.fetch(query("sum_usage_of_days"), *asked, column)
        total, *others = map(dict, rows)
        items = [{column: _key(column, row), **_consumed(row)} for row in others[: wanted.limit]]
        return {
            "items": items,
            "total": _consumed(total),
            "has_more": len(others) > wanted.limit,
        }

    async def of_task(self, task_id: int) -> Json:
        """Return the sum over all executions of a task that have ended."""
        with reading():
            row = await self._database.fetchrow(query("sum_usage_of_task"), task_id)
        return _consumed(dict(row or {}))


def _key(column: str, row: Json) -> object:
    return int(row["key"]) if column in _NUMBERS else row["key"]


def _consumed(row: Json) -> Json:
    """Return a row as the API shows it; the sums of no rows at all are empty."""
    sums = {name: int(row.get(name) or 0) for name in COUNTED}
    return {
        shown: sums[name] if unit == 1 else sums[name] / unit
        for name in COUNTED
        for shown, unit in (_SHOWN.get(name, (name, 1)),)
    }
