"""Rows of the log as envelopes."""

from __future__ import annotations

from uuid import UUID, SafeUUID

import asyncpg
from msgspec import Raw

from events.envelope import Recorded

COLUMNS = (
    "position, stream, version, event_id, type, schema_version, recorded_at, actor, project_id, "
    "command_id, correlation_id, causation_id, traceparent, data"
)


def recorded(row: asyncpg.Record) -> Recorded:
    """Return the envelope of a row selected with `COLUMNS`."""
    return Recorded(
        position=row[0],
        stream=row[1],
        version=row[2],
        event_id=_plain(row[3]),
        type=row[4],
        schema_version=row[5],
        recorded_at=row[6],
        actor=row[7],
        project_id=row[8],
        command_id=row[9],
        correlation_id=row[10],
        causation_id=row[11],
        traceparent=row[12],
        data=Raw(row[13]),
    )


_make, _set = object.__new__, object.__setattr__


def _plain(read: UUID) -> UUID:
    """Return the driver's UUID as a plain one, which encodes.

    The constructor, which checks what was checked, takes three times as long: most of an envelope.
    """
    made = _make(UUID)
    _set(made, "int", read.int)
    _set(made, "is_safe", SafeUUID.unknown)
    return made
