"""The SQL of a page of tasks: conditions and order from a `TaskFilter`, values as arguments."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final, TypeVar

from msgspec import Struct

from events.problem import FieldError
from pandar_daemon.adapters.postgres import cursors
from pandar_daemon.adapters.postgres.cursors import SortKey
from pandar_daemon.domain.refusals import Invalid
from pandar_daemon.ports import TaskFilter
from projections.base import storable
from projections.task_table import FIELDS, RANK, SEARCHED

KEY_HELD: Final = (
    "EXISTS (SELECT FROM reservations r WHERE r.scope = 'concurrency'"
    " AND r.key = t.project_id || ':' || t.concurrency_key)"
)
"""Whether a task's concurrency key is held: SQL over ``views.tasks t``."""

COLUMNS: Final = (
    ", ".join(f"t.{name}" for name, _ in FIELDS)
    + f", t.not_before, t.status = 'pending' AND {KEY_HELD} AS key_held"
)
"""What `projections.tasks.shown` needs of a row."""

_WORDS: Final = f"to_tsvector('simple', {SEARCHED})"
_EXACT: Final = re.compile(r'"|(^|\s)-')
"""Who quotes or excludes words does not want similar ones."""
_RELEVANCE: Final = "relevance"
T = TypeVar("T", int, str)


class _Order(Struct, frozen=True):
    expression: str
    sql_type: str
    python_type: type[SortKey]


_ORDERS: Final = {
    "created_at": _Order("created_at", "timestamptz", datetime),
    "updated_at": _Order("updated_at", "timestamptz", datetime),
    "started_at": _Order("coalesce(started_at, created_at)", "timestamptz", datetime),
    "priority": _Order("priority_rank", "integer", int),
    "status": _Order("status", "text", str),
    "name": _Order("name", "text", str),
}


class TaskQuery:
    """One filter as SQL."""

    def __init__(self, wanted: TaskFilter) -> None:
        """Raises `Invalid` for an unknown order, or a cursor that does not belong to it."""
        self._wanted = wanted
        self._arguments: list[object] = []
        self._conditions = ["NOT deleted", *self._filters()]
        if wanted.search:
            self._conditions.append(self._search(wanted.search))
        self._order = self._ordered()

    def page(self) -> tuple[str, list[object]]:
        """Return the query for one row more than the page holds, its ``sort_key`` included."""
        arguments, conditions = list(self._arguments), list(self._conditions)
        wanted, offset = self._wanted, 0
        if wanted.cursor is not None:
            conditions.append(self._beyond(wanted.cursor, arguments))
        elif wanted.page is not None:
            offset = (wanted.page - 1) * wanted.limit
        down = "DESC" if wanted.descending else "ASC"
        arguments += [wanted.limit + 1, offset]
        sql = (
            f"SELECT {COLUMNS}, {self._order.expression} AS sort_key FROM views.tasks t"  # noqa: S608 - our own names
            f" WHERE {' AND '.join(conditions)}"
            f" ORDER BY {self._order.expression} {down}, id {down}"
            f" LIMIT ${len(arguments) - 1} OFFSET ${len(arguments)}"
        )
        return sql, arguments

    def total(self) -> tuple[str, list[object]]:
        """Return the query for the number of rows on all pages."""
        arguments = list(self._arguments)
        conditions = [*self._conditions]
        if self._wanted.sort_by == _RELEVANCE:  # keeps every argument in use
            conditions.append(f"{self._order.expression} IS NOT NULL")
        sql = f"SELECT count(*) FROM views.tasks t WHERE {' AND '.join(conditions)}"  # noqa: S608 - our own names
        return sql, arguments

    def _argument(self, value: object, sql_type: str) -> str:
        self._arguments.append(value)
        return f"${len(self._arguments)}::{sql_type}"

    def _filters(self) -> list[str]:
        wanted = self._wanted
        given = (
            ("project_id = ANY ({})", _sorted(wanted.projects), "bigint[]"),
            ("project_id = {}", wanted.project_id, "bigint"),
            ("status = ANY ({})", _sorted(wanted.status) or None, "text[]"),
            ("priority_rank = ANY ({})", _ranks(wanted.priority), "integer[]"),
            ("created_by = {}", wanted.created_by and storable(wanted.created_by), "text"),
            ("created_at >= {}", wanted.date_from, "timestamptz"),
            ("created_at <= {}", wanted.date_to, "timestamptz"),
        )
        return [
            condition.format(self._argument(value, sql_type))
            for condition, value, sql_type in given
            if value is not None
        ]

    def _search(self, text: str) -> str:
        text = storable(text)
        words = self._argument(text, "text")
        part = self._argument(f"%{_escaped(text)}%", "text")
        met = [f"{_WORDS} @@ websearch_to_tsquery('simple', {words})", f"{SEARCHED} ILIKE {part}"]
        if not _EXACT.search(text):
            met.append(f"name %> {words}")
        return f"({' OR '.join(met)})"

    def _ordered(self) -> _Order:
        if self._wanted.sort_by == _RELEVANCE and self._wanted.search:
            words = self._argument(storable(self._wanted.search), "text")
            query = f"websearch_to_tsquery('simple', {words})"
            rank = f"(2 * word_similarity({words}, name) + ts_rank({_WORDS}, {query}))::float8"
            return _Order(rank, "float8", float)
        if self._wanted.sort_by not in _ORDERS:
            rule = f"one of {', '.join(_ORDERS)}; relevance only with a search"
            raise Invalid(FieldError(field="sort_by", rule=rule))
        return _ORDERS[self._wanted.sort_by]

    def _beyond(self, cursor: str, arguments: list[object]) -> str:
        wanted, order = self._wanted, self._order
        arguments += cursors.read(
            cursor, wanted.sort_by, order.python_type, descending=wanted.descending
        )
        key, id_ = f"${len(arguments) - 1}::{order.sql_type}", f"${len(arguments)}::bigint"
        sign = "<" if wanted.descending else ">"
        return f"({order.expression}, id) {sign} ({key}, {id_})"


def _sorted(values: frozenset[T] | None) -> list[T] | None:
    return None if values is None else sorted(values)


def _ranks(priorities: frozenset[str]) -> list[int] | None:
    ranks = [rank for priority, rank in RANK.items() if priority in priorities]
    return ranks if priorities else None


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
