"""The SQL of a page of tasks: conditions and order from a `TaskFilter`, values as arguments."""

from __future__ import annotations

import re
from collections.abc import Sequence
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

MATCHES_MAX: Final = 1_000
"""So many matches are named, and ranked; of more, pages go through the tasks, newest first.

A frequent word has matches on every page, so going through them ends soon; a rare one has few
matches, so naming them does. Either costs about the same among a million tasks as among thousands.
"""

LOOKED_AT: Final = 2_000
"""Among many tasks the newest tell first whether a search is of the frequent kind."""
MANY: Final = 50_000
"""So many tasks are many: among fewer it is as quick to look for all matches."""
_OFTEN: Final = 20

_TEXTS: Final = "JOIN views.task_words USING (id)"
_WORDS: Final = f"to_tsvector('simple', {SEARCHED})"
_EXACT: Final = re.compile(r'"|(^|\s)-')
"""Who quotes or excludes words does not want similar ones."""
_PLAIN: Final = re.compile(r"[a-z0-9]{3,}(\s+[a-z0-9]{3,})*", re.IGNORECASE | re.ASCII)
"""Words that all have to be there, and long enough for the index of letters."""
_RELEVANCE: Final = "relevance"
_EQUAL: Final = "0::float8"
"""The rank of tasks too many to be ranked."""
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


class _Arguments(list[object]):
    """The values of one statement."""

    def add(self, value: object, sql_type: str) -> str:
        """Return what stands for a value in the statement."""
        self.append(value)
        return f"${len(self)}::{sql_type}"


class TaskQuery:
    """One filter as SQL. A search is asked for its matches first; ``None`` of them is too many."""

    def __init__(self, wanted: TaskFilter) -> None:
        """Raises `Invalid` for an unknown order."""
        self._wanted = wanted
        self._text = storable(wanted.search or "")
        if wanted.sort_by not in _ORDERS and not (wanted.sort_by == _RELEVANCE and wanted.search):
            rule = f"one of {', '.join(_ORDERS)}; relevance only with a search"
            raise Invalid(FieldError(field="sort_by", rule=rule))

    def literal(self) -> tuple[str, _Arguments]:
        """Return the query for ids of tasks that have the words searched, or the very text."""
        values = _Arguments()
        conditions = [*self._filters(values), self._literal(values)]
        return _ids(conditions), values

    def newest(self) -> tuple[str, _Arguments]:
        """Return the query for how many of the newest tasks the words are in."""
        values = _Arguments()
        newest = " AND ".join(self._filters(values))
        sql = (
            f"SELECT count(*) FROM (SELECT * FROM views.tasks WHERE {newest}"  # noqa: S608 - our own names
            f" ORDER BY created_at DESC, id DESC LIMIT {LOOKED_AT}) t {_TEXTS}"
            f" WHERE {_one_by_one(self._literal(values))}"
        )
        return sql, values

    def similar(self) -> tuple[str, _Arguments] | None:
        """Return the query for ids of tasks with similar names; ``None`` if none is wanted."""
        if _EXACT.search(self._text):
            return None
        values = _Arguments()
        conditions = [*self._filters(values), f"in_name %> {values.add(self._text, 'text')}"]
        return _ids(conditions), values

    def page(self, matches: Sequence[int] | None = None) -> tuple[str, _Arguments]:
        """Return the query for one row more than the page holds, its ``sort_key`` included.

        Raises `Invalid` for a cursor that does not belong to its order.
        """
        values = _Arguments()
        conditions = self._conditions(values, matches)
        order, wanted, offset = self._ordered(values, matches), self._wanted, 0
        if wanted.cursor is not None:
            conditions.append(self._beyond(wanted.cursor, order, values))
        elif wanted.page is not None:
            offset = (wanted.page - 1) * wanted.limit
        down = "DESC" if wanted.descending else "ASC"
        by = f"{order.expression} {down}, id {down}" if order.expression != _EQUAL else f"id {down}"
        sql = (
            f"SELECT {COLUMNS}, {order.expression} AS sort_key FROM {self._from()}"  # noqa: S608 - our own names
            f" WHERE {' AND '.join(conditions)} ORDER BY {by}"
            f" LIMIT {values.add(wanted.limit + 1, 'bigint')} OFFSET {values.add(offset, 'bigint')}"
        )
        return sql, values

    def total(self, matches: Sequence[int] | None = None) -> tuple[str, _Arguments]:
        """Return the query for the number of rows on all pages."""
        values, wanted = _Arguments(), self._wanted
        if wanted == TaskFilter(
            projects=wanted.projects,
            project_id=wanted.project_id,
            status=wanted.status,
            sort_by=wanted.sort_by,
            descending=wanted.descending,
            limit=wanted.limit,
            cursor=wanted.cursor,
            page=wanted.page,
        ):
            counted = ["true", *self._given(values)]
            return (
                "SELECT coalesce(sum(tasks), 0)::bigint FROM views.task_counts"  # noqa: S608 - our own names
                f" WHERE {' AND '.join(counted)}"
            ), values
        conditions = self._conditions(values, matches)
        return f"SELECT count(*) FROM {self._from()} WHERE {' AND '.join(conditions)}", values  # noqa: S608 - our own names

    def _from(self) -> str:
        return f"views.tasks t {_TEXTS}" if self._text else "views.tasks t"

    def _conditions(self, values: _Arguments, matches: Sequence[int] | None) -> list[str]:
        conditions = self._filters(values)
        if matches is not None:
            conditions.append(f"id = ANY ({values.add(matches, 'bigint[]')})")
        elif self._text:
            conditions.append(_one_by_one(self._literal(values)))
        return conditions

    def _filters(self, values: _Arguments) -> list[str]:
        return ["NOT deleted", *self._given(values)]

    def _given(self, values: _Arguments) -> list[str]:
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
            condition.format(values.add(value, sql_type))
            for condition, value, sql_type in given
            if value is not None
        ]

    def _literal(self, values: _Arguments) -> str:
        """Return the condition: all words somewhere, or what the quotes and signs ask for.

        What has a word has its letters, which are quick to look for; its words take ten times that.
        """
        if _PLAIN.fullmatch(self._text):
            return " AND ".join(self._has(values, word) for word in self._text.split())
        return f"({self._has(values, self._text)} OR {self._has_words(values)})"

    def _has(self, values: _Arguments, text: str) -> str:
        return f"{SEARCHED} ILIKE {values.add(_pattern(text), 'text')}"

    def _has_words(self, values: _Arguments) -> str:
        query = f"websearch_to_tsquery('simple', {values.add(self._text, 'text')})"
        return f"{_WORDS} @@ {query}"

    def _ordered(self, values: _Arguments, matches: Sequence[int] | None) -> _Order:
        if self._wanted.sort_by != _RELEVANCE:
            return _ORDERS[self._wanted.sort_by]
        if matches is None:
            return _Order(_EQUAL, "float8", float)
        words = values.add(self._text, "text")
        query = f"websearch_to_tsquery('simple', {words})"
        rank = f"(2 * word_similarity({words}, name) + ts_rank({_WORDS}, {query}))::float8"
        return _Order(rank, "float8", float)

    def _beyond(self, cursor: str, order: _Order, values: _Arguments) -> str:
        wanted = self._wanted
        key, id_ = cursors.read(
            cursor, wanted.sort_by, order.python_type, descending=wanted.descending
        )
        sign = "<" if wanted.descending else ">"
        beyond = f"({values.add(key, order.sql_type)}, {values.add(id_, 'bigint')})"
        return f"({order.expression}, id) {sign} {beyond}"


def are_many(tasks: int, in_newest: int) -> bool:
    """Tell whether more than `MATCHES_MAX` of all tasks match, going by the newest ones."""
    return in_newest >= _OFTEN and in_newest * tasks > MATCHES_MAX * LOOKED_AT


def _one_by_one(condition: str) -> str:
    """Have the planner go through rows in order, rather than to an index for all that match.

    To it a ``CASE`` is met by every other row.
    """
    return f"CASE WHEN {condition} THEN true ELSE false END"


def _ids(conditions: list[str]) -> str:
    met = " AND ".join(conditions)
    return f"SELECT id FROM views.tasks t {_TEXTS} WHERE {met} LIMIT {MATCHES_MAX + 1}"  # noqa: S608 - our own names


def _sorted(values: frozenset[T] | None) -> list[T] | None:
    return None if values is None else sorted(values)


def _ranks(priorities: frozenset[str]) -> list[int] | None:
    ranks = [rank for priority, rank in RANK.items() if priority in priorities]
    return ranks if priorities else None


def _pattern(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
