"""Whether the tables of a read model are what folding the log gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
from msgspec import Raw

from projections.base import Row, Rows


def differences(expected: Mapping[str, Rows], actual: Mapping[str, Rows]) -> Iterator[str]:
    """Iterate over what differs, a line each: ``tasks (42,): status is 'failed', not 'running'``.

    ``expected`` is what `projections.base.fold` returned. Nothing when both are the same.
    """
    for table, rows in expected.items():
        found = actual.get(table, {})
        for key in rows.keys() | found.keys():
            if key not in found:
                yield f"{table} {key}: missing"
            elif key not in rows:
                yield f"{table} {key}: too much"
            else:
                yield from _of_row(f"{table} {key}", rows[key], found[key])


def _of_row(name: str, expected: Row, actual: Row) -> Iterator[str]:
    for column, value in expected.items():
        wanted = msgspec.json.decode(value) if isinstance(value, Raw) else value
        if actual.get(column) != wanted:
            yield f"{name}: {column} is {actual.get(column)!r}, not {wanted!r}"
