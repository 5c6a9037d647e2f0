"""What a read model is: tables, and a pure function from one event to changes of their rows.

A change names its table, the row's key and new values; what it does not name stays. A column is
either *stated* (`Upsert`, `Append`) or *counted* (`Increment`), a table has one kind only, so that
changes of different rows may be applied in any order and those of one row may be merged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from msgspec import Struct

from events import codec
from events.envelope import Recorded
from events.instant import text
from events.task import Event

Key = tuple[object, ...]
"""The values of a table's primary key, in its order."""
Row = dict[str, object]
"""Values by column; JSON columns hold ``msgspec.Raw`` or what encodes to JSON."""
Rows = dict[Key, Row]


class Upsert(Struct, frozen=True, gc=False):
    """Give a row these values; make it, its other columns empty, when it is not there."""

    table: str
    key: Key
    values: Row


class Append(Struct, frozen=True, gc=False):
    """Make a row that is not there yet."""

    table: str
    key: Key
    values: Row


class Increment(Struct, frozen=True, gc=False):
    """Add to integer columns of a row; one that is not there counts as all zero.

    Names every column of the table that is not its key.
    """

    table: str
    key: Key
    values: dict[str, int]


class Delete(Struct, frozen=True, gc=False):
    """Remove the rows whose key begins with ``key``; none is fine."""

    table: str
    key: Key


Change = Upsert | Append | Increment | Delete


class Table(Struct, frozen=True, kw_only=True):
    """A table: ``(column, SQL type)`` pairs, the primary key, and indexes.

    An index is what follows ``CREATE INDEX … ON table`` in SQL. Names are unique over all models.
    """

    name: str
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]
    indexes: tuple[str, ...] = ()


class ReadModel(Struct, frozen=True, kw_only=True):
    """A read model; a greater ``version`` is rebuilt from the log beside the one in use.

    ``handles`` are the beginnings of the types it listens to: ``task.``.
    """

    name: str
    version: int
    tables: tuple[Table, ...]
    handles: tuple[str, ...]
    on: Callable[[Recorded, Event], list[Change]]

    def project(self, recorded: Recorded) -> list[Change]:
        """Return what an event changes; nothing for one of no concern or of an unknown type.

        Raises `events.codec.CorruptEvent` for a payload that contradicts its type, ``ValueError``
        for an envelope that contradicts its event.
        """
        if recorded.type not in heard_types(self):
            return []
        event = codec.decode(recorded)
        return [] if event is None else self.on(recorded, event)


def types_of(cases: Mapping[type, object]) -> tuple[str, ...]:
    """Return the types of the events a ``singledispatch`` registry has a case for."""
    return tuple(name for name, event in codec.EVENTS.items() if event in cases)


def heard_types(model: ReadModel) -> frozenset[str]:
    """Return the types of this release a model listens to: ``on`` may be asked about these."""
    return _heard(model.handles)


@lru_cache
def _heard(handles: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name for name in codec.EVENTS if name.startswith(handles))


def fold(model: ReadModel, history: Iterable[Recorded]) -> dict[str, Rows]:
    """Return the tables of a model after these events, every row with every column.

    Raises what `ReadModel.project` raises, ``KeyError`` when an `Append` finds its row made.
    """
    shapes = {table.name: table for table in model.tables}
    tables: dict[str, Rows] = {name: {} for name in shapes}
    for recorded in history:
        for change in model.project(recorded):
            _apply(shapes[change.table], tables[change.table], change)
    return tables


def _apply(shape: Table, rows: Rows, change: Change) -> None:
    match change:
        case Delete(_, key):
            for gone in [other for other in rows if other[: len(key)] == key]:
                del rows[gone]
        case Increment(_, key, values):
            row = rows.setdefault(key, _empty(shape, key))
            row.update({name: _count(row[name]) + by for name, by in values.items()})
        case Append(_, key, _) if key in rows:
            raise KeyError(key)
        case Append(_, key, values) | Upsert(_, key, values):
            rows.setdefault(key, _empty(shape, key)).update(values)


def _empty(shape: Table, key: Key) -> Row:
    row: Row = dict.fromkeys(name for name, _ in shape.columns)
    row.update(zip(shape.key, key, strict=True))
    return row


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def task_id(recorded: Recorded) -> int:
    """Return the id of the task an event belongs to; raises ``ValueError`` when it has none."""
    task = _task(recorded.stream)
    if task is None:
        msg = f"event {recorded.position} ({recorded.type}) is in stream {recorded.stream}"
        raise ValueError(msg)
    return task


@lru_cache(maxsize=4096)
def _task(stream: str) -> int | None:
    category, _, id_ = stream.partition("-")
    return int(id_) if category == "task" else None


def project_id(recorded: Recorded) -> int:
    """Return the project an event belongs to; raises ``ValueError`` when it has none."""
    if recorded.project_id is None:
        msg = f"event {recorded.position} ({recorded.type}) has no project"
        raise ValueError(msg)
    return recorded.project_id


def storable(text: str) -> str:
    """Return ``text`` as Postgres can hold it: NUL becomes U+FFFD, as a terminal would show it."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def plain(value: object) -> object:
    """Return ``value`` as JSON can say it: times as RFC 3339, UUIDs as text, all else as it is."""
    if isinstance(value, datetime):
        return text(value)
    return str(value) if isinstance(value, UUID) else value
