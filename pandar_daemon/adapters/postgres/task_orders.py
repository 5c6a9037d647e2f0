"""The orders a page of tasks may be in, as SQL: what sorts it, and what lies beyond a cursor."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec import Struct

from pandar_daemon.adapters.postgres import cursors
from pandar_daemon.adapters.postgres.cursors import SortKey

RELEVANCE: Final = "relevance"


class Arguments(list[object]):
    """The values of one statement."""

    def add(self, value: object, sql_type: str) -> str:
        """Return what stands for a value in the statement."""
        self.append(value)
        return f"${len(self)}::{sql_type}"


class Order(Struct, frozen=True):
    """By an expression, then by more columns, then by id."""

    expression: str
    sql_type: str
    python_type: type[SortKey]
    then: tuple[str, ...] = ()

    def by(self, *, descending: bool) -> str:
        """Return the ``ORDER BY``; what is the same for all is left out of it."""
        down = "DESC" if descending else "ASC"
        keys = [*([] if self is UNRANKED else [self.expression]), *self.then, "id"]
        return "ORDER BY " + ", ".join(f"{key} {down}" for key in keys)

    def beyond(self, cursor: str, sort_by: str, values: Arguments, *, descending: bool) -> str:
        """Return the condition for rows that come after a page.

        Raises `Invalid` for a cursor that does not belong to this order.
        """
        key, id_ = cursors.read(cursor, sort_by, self.python_type, descending=descending)
        last, last_id = values.add(key, self.sql_type), values.add(id_, "bigint")
        then = [f"(SELECT {name} FROM views.tasks WHERE id = {last_id})" for name in self.then]  # noqa: S608 - our own names
        columns = ", ".join([self.expression, *self.then, "id"])
        return f"({columns}) {'<' if descending else '>'} ({', '.join([last, *then, last_id])})"


MADE: Final = Order("created_at", "timestamptz", datetime)
UNRANKED: Final = Order("0::float8", "float8", float)
"""Of tasks too many to be ranked."""

ORDERS: Final = {
    "created_at": MADE,
    "updated_at": Order("updated_at", "timestamptz", datetime),
    "started_at": Order("coalesce(started_at, created_at)", "timestamptz", datetime),
    "priority": Order("priority_rank", "integer", int),
    # As the index has it that lists the newest of a status: one index is enough for both.
    "status": Order("status", "text", str, then=("created_at",)),
    "name": Order("name", "text", str),
}
