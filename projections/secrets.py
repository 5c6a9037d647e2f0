"""What secrets projects have, and the data key of each: never a value, not even a sealed one."""

from __future__ import annotations

from typing import Final

from events.envelope import Recorded
from events.ids import id_of
from events.secret import KeyMade, KeyResealed, SecretRemoved, SecretSet
from events.task import Event
from projections.base import Change, Delete, ReadModel, Table, Upsert, storable

SECRETS_TABLE: Final = Table(
    name="secrets",
    columns=(
        ("project_id", "bigint"),
        ("name", "text"),
        ("use", "text"),
        ("description", "text"),
        ("set_by", "text"),
        ("set_at", "timestamptz"),
    ),
    key=("project_id", "name"),
)
KEYS_TABLE: Final = Table(
    name="data_keys",
    columns=(
        ("project_id", "bigint"),
        ("key_id", "text"),
        ("sealed", "text"),
        ("sealed_at", "timestamptz"),
    ),
    key=("project_id",),
)


def _on(recorded: Recorded, event: Event) -> list[Change]:
    project = int(id_of(recorded.stream))
    match event:
        case SecretSet():
            row: dict[str, object] = {
                "use": event.use.value,
                "description": storable(event.description),
                "set_by": storable(recorded.actor),
                "set_at": recorded.recorded_at,
            }
            return [Upsert(SECRETS_TABLE.name, (project, storable(event.name)), row)]
        case SecretRemoved(name=name):
            return [Delete(SECRETS_TABLE.name, (project, storable(name)))]
        case KeyMade() | KeyResealed():
            row = {
                "key_id": storable(event.key_id),
                "sealed": storable(event.sealed),
                "sealed_at": recorded.recorded_at,
            }
            return [Upsert(KEYS_TABLE.name, (project,), row)]
        case _:
            return []


SECRETS: Final = ReadModel(
    name="secrets",
    version=1,
    tables=(SECRETS_TABLE, KEYS_TABLE),
    handles=("secret.",),
    on=_on,
)
