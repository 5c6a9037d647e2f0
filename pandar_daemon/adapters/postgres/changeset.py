"""Many changes as few statements: merged by row, then grouped by the columns they state.

Order does not matter between rows of a table, and within a row the last word wins (see
`projections.base`): so a batch becomes, per table, deletes, then inserts, then upserts, then sums,
each a single statement over arrays, or a COPY when there are many rows to insert. Of many rows to
upsert those not there yet are copied too: while a generation is built that is most of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from itertools import compress

import msgspec
from msgspec import Raw, Struct, structs

from projections.base import Append, Change, Increment, Key, Row, Table, Upsert

COPY_MIN = 200
"""From so many rows on COPY is cheaper: it asks once more before it begins, then takes each row in
half the time and, as pages are logged whole, a quarter of the WAL."""


class Statement(Struct, frozen=True):
    """SQL, and one array an argument."""

    sql: str
    arrays: list[list[object]]


class Copy(Struct, frozen=True):
    """Rows for a table, by column; each must be new."""

    schema: str
    table: str
    columns: tuple[str, ...]
    arrays: list[list[object]]

    def rows(self) -> Iterable[tuple[object, ...]]:
        """Return the rows."""
        return zip(*self.arrays, strict=True)


class Merge(Struct, frozen=True):
    """Many rows for a table: those that are there get new values, the others are new."""

    present: Statement
    """Selects which of the rows, counted from 1, are there."""
    update: str
    """Takes such rows; the SQL of a `Statement`."""
    copy: Copy
    """All the rows."""

    def split(self, present: Collection[int]) -> list[Statement | Copy]:
        """Return what takes the rows, told the numbers of those that are there."""
        if not present:
            return [self.copy]
        there = [n in present for n in range(1, len(self.copy.arrays[0]) + 1)]
        old = [list(compress(array, there)) for array in self.copy.arrays]
        absent = [not one for one in there]
        new = [list(compress(array, absent)) for array in self.copy.arrays]
        copy = structs.replace(self.copy, arrays=new)
        return [Statement(self.update, old), *([copy] if new[0] else [])]


class _Pending(Struct):
    deletes: list[Key] = []
    inserts: list[tuple[Key, Row]] = []
    upserts: dict[Key, Row] = {}
    sums: dict[Key, dict[str, int]] = {}

    def take(self, change: Change) -> None:
        if type(change) is Upsert:  # not by match or isinstance: there are four changes an event
            key, values = change.key, change.values
            if (row := self.upserts.get(key)) is None:
                self.upserts[key] = values.copy()
            else:
                row.update(values)
        elif type(change) is Append:
            self.inserts.append((change.key, change.values))
        elif type(change) is Increment:
            total = self.sums.setdefault(change.key, {})
            for name, by in change.values.items():
                total[name] = total.get(name, 0) + by
        else:
            self._delete(change.key)

    def _delete(self, prefix: Key) -> None:
        size = len(prefix)
        self.deletes.append(prefix)
        self.inserts = [row for row in self.inserts if row[0][:size] != prefix]
        for pending in (self.upserts, self.sums):
            for key in [key for key in pending if key[:size] == prefix]:
                del pending[key]


def statements(
    schema: str, tables: Collection[Table], changes: Iterable[Change]
) -> list[Statement | Copy | Merge]:
    """Return what brings the tables in ``schema`` from before these changes to after them."""
    pending = {table.name: _Pending() for table in tables}
    for change in changes:
        pending[change.table].take(change)
    return [
        statement for table in tables for statement in _of_table(schema, table, pending[table.name])
    ]


def _of_table(schema: str, table: Table, pending: _Pending) -> Iterator[Statement | Copy | Merge]:
    target = f"{schema}.{table.name}"
    for size in sorted({len(key) for key in pending.deletes}):
        keys = [key for key in pending.deletes if len(key) == size]
        arrays = _transposed(table, keys, [], table.key[:size])
        yield Statement(_delete(target, table, size), arrays)
    for columns, rows in _grouped(pending.inserts).items():
        arrays = _arrays(table, columns, rows)
        if len(rows) < COPY_MIN:
            yield Statement(_insert(target, table, columns), arrays)
        else:
            yield Copy(schema, table.name, table.key + columns, arrays)
    for columns, rows in _grouped(pending.upserts.items()).items():
        upsert = Statement(_upsert(target, table, columns), _arrays(table, columns, rows))
        yield upsert if len(rows) < COPY_MIN else _merge(schema, table, columns, upsert)
    for columns, rows in _grouped(pending.sums.items()).items():
        yield Statement(_sum(target, table, columns), _arrays(table, columns, rows))


def _merge(schema: str, table: Table, columns: Columns, upsert: Statement) -> Merge:
    keys = upsert.arrays[: len(table.key)]
    return Merge(
        present=Statement(_present(f"{schema}.{table.name}", table), keys),
        update=upsert.sql,
        copy=Copy(schema, table.name, table.key + columns, upsert.arrays),
    )


Columns = tuple[str, ...]
Values = Row | dict[str, int]
Group = list[tuple[Key, Values]]


def _grouped(rows: Iterable[tuple[Key, Values]]) -> dict[Columns, Group]:
    as_stated: dict[Columns, Group] = defaultdict(list)
    for row in rows:
        as_stated[tuple(row[1])].append(row)
    groups: dict[Columns, Group] = defaultdict(list)
    for columns, some in as_stated.items():
        groups[tuple(sorted(columns))] += some
    return groups


def _arrays(table: Table, columns: Columns, rows: Group) -> list[list[object]]:
    return _transposed(
        table, [key for key, _ in rows], [row for _, row in rows], table.key, columns
    )


def _transposed(
    table: Table, keys: list[Key], rows: list[Values], key: Columns, columns: Columns = ()
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
    return str(value if isinstance(value, Raw) else msgspec.json.encode(value), "utf-8")


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
def _present(target: str, table: Table) -> str:
    """Each row is looked up by itself, by its key: a plan made for a small table stays good."""
    match = " AND ".join(f"t.{name} = k.{name}" for name in table.key)
    rows = f"unnest({_unnest(table, table.key)}) WITH ORDINALITY AS k ({', '.join(table.key)}, n)"
    return f"SELECT n FROM {rows} WHERE (SELECT true FROM {target} t WHERE {match})"  # noqa: S608 - our own names


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
