"""The SQL of a page of tasks: conditions and order from a `TaskFilter`, values as arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

from events.problem import FieldError
from pandar_daemon.adapters.postgres import cursors
from pandar_daemon.adapters.postgres.task_orders import (
    MADE,
    ORDERS,
    RELEVANCE,
    UNRANKED,
    Arguments,
    Order,
)
from pandar_daemon.adapters.postgres.task_spans import NEAR, Span
from pandar_daemon.adapters.postgres.task_text import Text, one_by_one
from pandar_daemon.domain.refusals import Invalid
from pandar_daemon.ports import TaskFilter
from projections.base import storable
from projections.task_table import FIELDS, MADE_IN, RANK

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

MANY: Final = 50_000
"""So many tasks are many, and gone through in stretches of time; of fewer it is as quick to look
for all matches at once."""

_COUNT: Final = "SELECT coalesce(sum(tasks), 0)::bigint FROM views.task_counts"
_TEXTS: Final = "JOIN views.task_words USING (id)"
_FEW_PAGES: Final = 10
_FOR_EVER: Final = datetime(9999, 1, 1, tzinfo=UTC)
T = TypeVar("T", int, str)


class TaskQuery:
    """One filter as SQL. A search is asked for its matches first; ``None`` of them is too many."""

    def __init__(self, wanted: TaskFilter) -> None:
        """Raises `Invalid` for an unknown order."""
        self._wanted = wanted
        self.frequent: Mapping[str, int] = {}
        """How frequent letters are, as far as that is known: see `Letters`."""
        self._text = Text(storable(wanted.search or ""))
        if wanted.sort_by not in ORDERS and not (wanted.sort_by == RELEVANCE and wanted.search):
            rule = f"one of {', '.join(ORDERS)}; relevance only with a search"
            raise Invalid(FieldError(field="sort_by", rule=rule))

    def known(self) -> tuple[str, Arguments]:
        """Return the query for what is `Known` of the tasks the matches are among."""
        values = Arguments()
        latest = min((at for at in (self._wanted.date_to, self._after()) if at), default=_FOR_EVER)
        older = f"created_at <= {values.add(latest, 'timestamptz')}"
        made = f"SELECT created_at FROM views.tasks WHERE NOT deleted AND {older}"  # noqa: S608 - our own names
        newest = f"{made} ORDER BY created_at DESC LIMIT 1"
        return (
            f"SELECT ({_COUNT}) AS tasks,"
            f" ({newest}) AS newest, ({newest} OFFSET {NEAR}) AS near,"
            f" ({made} ORDER BY created_at LIMIT 1) AS oldest"
        ), values

    def literal(self) -> tuple[str, Arguments]:
        """Return the query for ids of tasks that have the words searched, or the very text."""
        return self.within(Span(None), None)

    def within(self, span: Span, newest: datetime | None) -> tuple[str, Arguments]:
        """Return that query for tasks made in a stretch of time; none was made after ``newest``."""
        values = Arguments()
        conditions = [
            *self._filters(values),
            *_made(values, span, newest),
            *self._text.sought(values, self.frequent),
        ]
        if newest is not None and self._wanted.cursor is not None and self.is_newest_first:
            conditions.append(self._beyond(self._wanted.cursor, MADE, values))
        return _ids(conditions, MATCHES_MAX if newest is None else self.too_many), values

    def _after(self) -> datetime | None:
        """Return when the last task of the page before was made, if only older ones are wanted."""
        wanted = self._wanted
        if wanted.cursor is None or not self.is_newest_first:
            return None
        return cursors.read(wanted.cursor, wanted.sort_by, datetime, descending=True)[0]

    @property
    def is_newest_first(self) -> bool:
        """Tell whether a page needs no other matches than the newest ones."""
        wanted = self._wanted
        return wanted.sort_by == "created_at" and wanted.descending and wanted.page is None

    @property
    def enough(self) -> int:
        """Return how many of the newest matches make the page; of any more it may need all."""
        return self._wanted.limit + 1 if self.is_newest_first else MATCHES_MAX + 1

    @property
    def too_many(self) -> int:
        """Return how many matches in a stretch of time may be read; if it has more, a shorter one.

        Where all are needed, it is how many may be named.
        """
        return _FEW_PAGES * self.enough if self.is_newest_first else MATCHES_MAX

    def similar(self) -> tuple[str, Arguments] | None:
        """Return the query for ids of tasks with similar names; ``None`` if none is wanted."""
        if self._text.is_exact:
            return None
        values = Arguments()
        conditions = [*self._filters(values), f"in_name %> {values.add(self._text.text, 'text')}"]
        return _ids(conditions, MATCHES_MAX), values

    def page(self, matches: Sequence[int] | None = None) -> tuple[str, Arguments]:
        """Return the query for one row more than the page holds, its ``sort_key`` included.

        Raises `Invalid` for a cursor that does not belong to its order.
        """
        values, wanted = Arguments(), self._wanted
        conditions = self._conditions(values, matches)
        order, offset = self._ordered(values, matches), 0
        if wanted.cursor is not None:
            conditions.append(self._beyond(wanted.cursor, order, values))
        elif wanted.page is not None:
            offset = (wanted.page - 1) * wanted.limit
        by = order.by(descending=wanted.descending)
        limit, skipped = values.add(wanted.limit + 1, "bigint"), values.add(offset, "bigint")
        source = f"{self._from()} WHERE {' AND '.join(conditions)}"
        if self._is_by_status:
            each = f"SELECT * FROM {source} AND status = %s {by} LIMIT {limit} + {skipped}"  # noqa: S608 - our own names
            statuses = [values.add(status, "text") for status in sorted(wanted.status)]
            source = f"({' UNION ALL '.join(f'({each % status})' for status in statuses)}) t"
        sql = (
            f"SELECT {COLUMNS}, {order.expression} AS sort_key FROM {source}"  # noqa: S608 - our own names
            f" {by} LIMIT {limit} OFFSET {skipped}"
        )
        return sql, values

    @property
    def _is_by_status(self) -> bool:
        """Tell whether the newest of each status are asked for, and the newest of these taken.

        Of each status there is an index by when tasks were made, so none has to be read whole.
        """
        wanted = self._wanted
        is_shallow = (wanted.page or 1) * wanted.limit <= MATCHES_MAX
        is_of_several = len(wanted.status) > 1 and wanted.sort_by == "created_at"
        return is_of_several and is_shallow and not self._text

    def _beyond(self, cursor: str, order: Order, values: Arguments) -> str:
        wanted = self._wanted
        return order.beyond(cursor, wanted.sort_by, values, descending=wanted.descending)

    def total(self, matches: Sequence[int] | None = None) -> tuple[str, Arguments]:
        """Return the query for the number of rows on all pages."""
        values, wanted = Arguments(), self._wanted
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
            return f"{_COUNT} WHERE {' AND '.join(counted)}", values
        conditions = [*self._filters(values), *self._among(values, matches)]
        return f"SELECT count(*) FROM {self._from()} WHERE {' AND '.join(conditions)}", values  # noqa: S608 - our own names

    def _from(self) -> str:
        return f"views.tasks t {_TEXTS}" if self._text else "views.tasks t"

    def _conditions(self, values: Arguments, matches: Sequence[int] | None) -> list[str]:
        among = self._among(values, matches)
        if matches is None:
            among = [one_by_one(condition) for condition in among]
        return [*self._filters(values, of_any_status=self._is_by_status), *among]

    def _among(self, values: Arguments, matches: Sequence[int] | None) -> list[str]:
        """Return the condition for being one of the matches, if there is a search."""
        if matches is not None:
            return [f"id = ANY ({values.add(matches, 'bigint[]')})"]
        return [self._text.literal(values)] if self._text else []

    def _filters(self, values: Arguments, *, of_any_status: bool = False) -> list[str]:
        return ["NOT deleted", *self._given(values, of_any_status=of_any_status)]

    def _given(self, values: Arguments, *, of_any_status: bool = False) -> list[str]:
        wanted = self._wanted
        statuses = [] if of_any_status else sorted(wanted.status)
        one_status = statuses[0] if len(statuses) == 1 else None
        given = (
            ("project_id = ANY ({})", _sorted(wanted.projects), "bigint[]"),
            ("project_id = {}", wanted.project_id, "bigint"),
            # By equality, so that an index that begins with it is in the order wanted.
            ("status = {}", one_status, "text"),
            ("status = ANY ({})", None if one_status else statuses or None, "text[]"),
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

    def _ordered(self, values: Arguments, matches: Sequence[int] | None) -> Order:
        if self._wanted.sort_by != RELEVANCE:
            return ORDERS[self._wanted.sort_by]
        if matches is None:
            return UNRANKED
        return Order(self._text.rank(values), "float8", float)


def _ids(conditions: list[str], most: int) -> str:
    """Return the query for ids, one more than the most wanted, planned as if all were.

    The planner else hopes to meet the first thousand soon by going through the table.
    """
    met = " AND ".join(conditions)
    found = f"SELECT id FROM views.tasks t {_TEXTS} WHERE {met}"  # noqa: S608 - our own names
    return f"WITH found AS MATERIALIZED ({found}) SELECT id FROM found LIMIT {most + 1}"  # noqa: S608 - our own names


def _made(values: Arguments, span: Span, newest: datetime | None) -> Iterator[str]:
    """Yield the conditions for tasks made in a stretch of time; none was made after ``newest``."""
    if newest is not None and (places := span.places(newest)) is not None:
        yield f"{MADE_IN} && {values.add(places, 'integer[]')}"
        yield one_by_one(f"created_at >= {values.add(span.since, 'timestamptz')}")
    if span.before is not None:
        yield one_by_one(f"created_at < {values.add(span.before, 'timestamptz')}")


def _sorted(values: frozenset[T] | None) -> list[T] | None:
    return None if values is None else sorted(values)


def _ranks(priorities: frozenset[str]) -> list[int] | None:
    ranks = [rank for priority, rank in RANK.items() if priority in priorities]
    return ranks if priorities else None
