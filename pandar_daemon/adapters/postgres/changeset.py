"""Many changes as few statements: merged by row, then grouped by the columns they state.

Order does not matter between rows of a table, and within a row the last word wins (see
`projections.base`): so a batch becomes, per table, deletes, then inserts, then upserts, then sums,
each a single statement over arrays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache

import msgspec
from msgspec import Raw, Struct

from projections.base import Append, Change, Delete, Increment, Key, Row, Table, Upsert

Statement = tuple[str, list[list[object]]]
"""SQL, and one array an argument."""


class _Pending(Struct):
    deletes: list[Key] = []
    inserts: list[tuple[Key, Row]] = []
    upserts: dict[Key, Row] = {}
    sums: dict[Key, dict[str, int]] = {}

    def take(self, change: Change) -> None:
        match change:
            case Upsert(_, key, values):
                self.upserts.setdefault(key, {}).update(values)
            case Append(_, key, values):
                self.inserts.append((key, values))
            case Increment(_, key, values):
                total = self.sums.setdefault(key, {})
                for name, by in values.items():
                    total[name] = total.get(name, 0) + by
            case Delete(_, key):
                self._delete(key)

    def _delete(self, prefix: Key) -> None:
        size = len(prefix)
        self.deletes.append(prefix)
        self.inserts = [row for row in self.inserts if row[0][:size] != prefix]
        for pending in (self.upserts, self.sums):
            for key in [key for key in pending if key[:size] == prefix]:
                del pending[key]


def statements(schema: str, tables: Iterable[Table], changes: Iterable[Change]) -> list[Statement]:
    """Return what brings the tables in ``schema`` from before these changes to after them."""
    pending: dict[str, _Pending] = defaultdict(_Pending)
    for change in changes:
        pending[change.table].take(change)
    return [
        statement
        for table in tables
        if table.name in pending
        for statement in _of_table(f"{schema}.{table.name}", table, pending[table.name])
    ]


def _of_table(target: str, table: Table, pending: _Pending) -> Iterator[Statement]:
    for size in sorted({len(key) for key in pending.deletes}):
        keys = [key for key in pending.deletes if len(key) == size]
        yield _delete(target, table, size), _transposed(table, keys, [], table.key[:size])
    for columns, rows in _grouped(pending.inserts).items():
        yield _insert(target, table, columns), _arrays(table, columns, rows)
    for columns, rows in _grouped(pending.upserts.items()).items():
        yield _upsert(target, table, columns), _arrays(table, columns, rows)
    for columns, rows in _grouped(pending.sums.items()).items():
        yield _sum(target, table, columns), _arrays(table, columns, rows)


Columns = tuple[str, ...]
Group = list[tuple[Key, Row]]


def _grouped(rows: Iterable[tuple[Key, Row | dict[str, int]]]) -> dict[Columns, Group]:
    groups: dict[Columns, Group] = defaultdict(list)
    for key, values in rows:
        groups[tuple(sorted(values))].append((key, dict(values)))
    return groups


def _arrays(table: Table, columns: Columns, rows: Group) -> list[list[object]]:
    return _transposed(
        table, [key for key, _ in rows], [row for _, row in rows], table.key, columns
    )


def _transposed(
    table: Table, keys: list[Key], rows: list[Row], key: Columns, columns: Columns = ()
) -> list[list[object]]:
    types = dict(table.columns)
    arrays: list[list[object]] = [[one[n] for one in keys] for n in range(len(key))]
    for name in columns:
        values = [row[name] for row in rows]
        arrays.append([_json(v) for v in values] if types[name] == "json" else values)
    return arrays


def _json(value: object) -> str | None:
    if value is None:
        return None
    return (bytes(value) if isinstance(value, Raw) else msgspec.json.encode(value)).decode()


@lru_cache(maxsize=1024)
def _unnest(table: Table, columns: Columns) -> str:
    types = dict(table.columns)
    return ", ".join(f"${n}::{types[name]}[]" for n, name in enumerate(columns, 1))


@lru_cache(maxsize=1024)
def _delete(target: str, table: Table, size: int) -> str:
    key = table.key[:size]
    match = " AND ".join(f"t.{name} = gone.{name}" for name in key)
    rows = _unnest(table, key)
    return f"DELETE FROM {target} t USING unnest({rows}) AS gone ({', '.join(key)}) WHERE {match}"  # noqa: S608 - our own names


@lru_cache(maxsize=1024)
def _insert(target: str, table: Table, columns: Columns) -> str:
    named = table.key + columns
    rows = _unnest(table, named)
    return f"INSERT INTO {target} AS t ({', '.join(named)}) SELECT * FROM unnest({rows})"  # noqa: S608 - our own names


@lru_cache(maxsize=1024)
def _upsert(target: str, table: Table, columns: Columns) -> str:
    new = ", ".join(f"{name} = excluded.{name}" for name in columns)
    action = f"UPDATE SET {new}" if new else "NOTHING"
    return f"{_insert(target, table, columns)} ON CONFLICT ({', '.join(table.key)}) DO {action}"


@lru_cache(maxsize=1024)
def _sum(target: str, table: Table, columns: Columns) -> str:
    new = ", ".join(f"{name} = t.{name} + excluded.{name}" for name in columns)
    conflict = f"ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {new}"
    return f"{_insert(target, table, columns)} {conflict}"
