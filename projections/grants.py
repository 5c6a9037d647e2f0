"""Standing grants of projects, those that are over too."""

from __future__ import annotations

from typing import Final

from events.envelope import Recorded
from events.grant import GrantCreated, GrantRevoked, GrantUsed
from events.ids import id_of
from events.task import Event
from projections.base import Change, ReadModel, Row, Table, Upsert, storable

TABLE: Final = Table(
    name="grants",
    columns=(
        ("grant_id", "text"),
        ("project_id", "bigint"),
        ("gates", "json"),
        ("pattern", "text"),
        ("by", "text"),
        ("reason", "text"),
        ("created_at", "timestamptz"),
        ("expires_at", "timestamptz"),
        ("uses_max", "bigint"),
        ("uses", "bigint"),
        ("used_at", "timestamptz"),
        ("revoked_by", "text"),
        ("revoked_at", "timestamptz"),
        ("confirmation_id", "uuid"),
    ),
    key=("grant_id",),
    indexes=("(project_id, created_at)",),
)


def _on(recorded: Recorded, event: Event) -> list[Change]:
    row = _values(recorded, event)
    return [Upsert(TABLE.name, (id_of(recorded.stream),), row)] if row else []


def _values(recorded: Recorded, event: Event) -> Row:
    match event:
        case GrantCreated():
            return {
                "project_id": event.project_id,
                "gates": event.gates,
                "pattern": storable(event.pattern),
                "by": storable(event.by),
                "reason": storable(event.reason),
                "created_at": recorded.recorded_at,
                "expires_at": event.expires_at,
                "uses_max": event.uses_max,
                "uses": 0,
                "confirmation_id": event.confirmation_id,
            }
        case GrantUsed():
            return {"uses": event.n, "used_at": recorded.recorded_at}
        case GrantRevoked():
            return {"revoked_by": storable(event.by), "revoked_at": recorded.recorded_at}
        case _:
            return {}


GRANTS: Final = ReadModel(name="grants", version=1, tables=(TABLE,), handles=("grant.",), on=_on)
