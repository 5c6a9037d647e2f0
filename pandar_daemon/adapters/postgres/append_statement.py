"""An append as a statement: what is sent for items, and what its rows say.

Items together go to `append_batch`. One by itself, without keys and lease, as most commands of a
quiet day are, goes to `append_one`: the same judgement and the same rows in a third less time.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import asyncpg
from msgspec import Struct

from events import codec
from pandar_daemon.ports import (
    Append,
    Appended,
    Conflict,
    Fenced,
    Key,
    KeyTaken,
    Receipt,
    Replayed,
    Verdict,
)


def _call(function: str, parameters: int) -> str:
    return f"SELECT * FROM {function}({', '.join(f'${n + 1}' for n in range(parameters))})"  # noqa: S608 - placeholders only


_ONE = _call("append_one", 14)
_BATCH = _call("append_batch", 29)


class Statement(Struct, frozen=True):
    """What is sent: one row comes back for each item, in their order.

    ``ids`` are those of the events, of one item after the other.
    """

    sql: str
    arguments: Sequence[object]
    ids: Sequence[UUID]


def statement(items: Sequence[Append], ids: Sequence[UUID]) -> Statement:
    """Return what appends items; ``ids`` are for their events, in order.

    No two items may touch the same stream, command id, key or lease.
    """
    if len(items) == 1 and _is_plain(items[0]):
        return Statement(_ONE, _of_one(items[0], ids), ids)
    return Statement(_BATCH, _of_batch(items, ids), ids)


def verdict_of(row: asyncpg.Record) -> Verdict:
    """Return what became of an item; the receipt of one that is replayed is still to be read."""
    match row["verdict"]:
        case "appended":
            return Appended(position=row["at_position"], version=row["at_version"])
        case "conflict":
            return Conflict(row["at_version"])
        case "taken":
            return KeyTaken(Key(row["key_scope"], row["key_text"]))
        case "fenced":
            return Fenced()
        case _:
            return Replayed(_UNREAD)


_UNREAD = Receipt(command_id="", request_sha256=b"", stream="", position=0, version=0, answer=b"")


def _is_plain(item: Append) -> bool:
    return item.lease is None and not item.reserve and not item.release


def _of_one(item: Append, ids: Sequence[UUID]) -> list[object]:
    return [
        item.stream,
        item.expected_version,
        item.command_id,
        item.request_sha256,
        item.answer,
        item.actor,
        item.project_id,
        item.correlation_id,
        item.causation_id,
        item.traceparent,
        ids,
        [codec.name_of(event) for event in item.events],
        [event.SCHEMA_VERSION for event in item.events],
        [codec.encode(event).decode() for event in item.events],
    ]


def _of_batch(items: Sequence[Append], ids: Sequence[UUID]) -> list[object]:
    leases = [item.lease for item in items]
    events = [
        (n, seq, event)
        for n, item in enumerate(items, 1)
        for seq, event in enumerate(item.events, 1)
    ]
    reserved = [(n, key) for n, item in enumerate(items, 1) for key in item.reserve]
    freed = [(n, key) for n, item in enumerate(items, 1) for key in item.release]
    return [
        [item.stream for item in items],
        [item.expected_version for item in items],
        [len(item.events) for item in items],
        [item.command_id for item in items],
        [item.request_sha256 for item in items],
        [item.answer for item in items],
        [item.actor for item in items],
        [item.project_id for item in items],
        [item.correlation_id for item in items],
        [item.causation_id for item in items],
        [item.traceparent for item in items],
        [lease and lease.op.value for lease in leases],
        [lease and lease.task_id for lease in leases],
        [lease and lease.execution_id for lease in leases],
        [lease and lease.epoch for lease in leases],
        [lease and lease.runner_id for lease in leases],
        [lease and lease.ttl_sec for lease in leases],
        [n for n, _, _ in events],
        [seq for _, seq, _ in events],
        ids,
        [codec.name_of(event) for _, _, event in events],
        [event.SCHEMA_VERSION for _, _, event in events],
        [codec.encode(event).decode() for _, _, event in events],
        [n for n, _ in reserved],
        [key.scope for _, key in reserved],
        [key.key for _, key in reserved],
        [n for n, _ in freed],
        [key.scope for _, key in freed],
        [key.key for _, key in freed],
    ]
