"""Projects and their members."""

from __future__ import annotations

from typing import Final

from msgspec import UNSET

from events.envelope import Recorded
from events.ids import id_of
from events.project import MemberAdded, MemberRemoved, ProjectCreated, ProjectUpdated
from events.task import Event
from projections.base import Change, Delete, ReadModel, Row, Table, Upsert, storable

PROJECTS_TABLE: Final = Table(
    name="projects",
    columns=(
        ("id", "bigint"),
        ("name", "text"),
        ("git_url", "text"),
        ("description", "text"),
        ("owner", "text"),
        ("created_at", "timestamptz"),
        ("updated_at", "timestamptz"),
        ("version", "bigint"),
        ("position", "bigint"),
        ("base_branch", "text"),
        ("setup", "text"),
    ),
    key=("id",),
    indexes=("(owner)",),
)
MEMBERS_TABLE: Final = Table(
    name="members",
    columns=(
        ("project_id", "bigint"),
        ("user_id", "text"),
        ("role", "text"),
        ("since", "timestamptz"),
    ),
    key=("project_id", "user_id"),
    indexes=("(user_id)",),
)


def _on(recorded: Recorded, event: Event) -> list[Change]:
    project = int(id_of(recorded.stream))
    row: Row = {
        "updated_at": recorded.recorded_at,
        "version": recorded.version,
        "position": recorded.position,
        **_values(recorded, event),
    }
    return [Upsert(PROJECTS_TABLE.name, (project,), row), *_membership(recorded, project, event)]


def _values(recorded: Recorded, event: Event) -> Row:
    match event:
        case ProjectCreated():
            return {
                "name": storable(event.name),
                "git_url": storable(event.git_url),
                "description": storable(event.description),
                "base_branch": storable(event.base_branch),
                "setup": storable(event.setup),
                "owner": event.owner,
                "created_at": recorded.recorded_at,
            }
        case ProjectUpdated():
            new = (
                ("name", event.name),
                ("git_url", event.git_url),
                ("description", event.description),
                ("base_branch", event.base_branch),
                ("setup", event.setup),
            )
            return {name: storable(value) for name, value in new if value is not UNSET}
        case _:
            return {}


def _membership(recorded: Recorded, project: int, event: Event) -> list[Change]:
    match event:
        case MemberAdded(user=user, role=role):
            row: Row = {"role": role.value, "since": recorded.recorded_at}
            return [Upsert(MEMBERS_TABLE.name, (project, user), row)]
        case MemberRemoved(user=user):
            return [Delete(MEMBERS_TABLE.name, (project, user))]
        case _:
            return []


PROJECTS: Final = ReadModel(
    name="projects",
    version=2,
    tables=(PROJECTS_TABLE, MEMBERS_TABLE),
    handles=("project.", "member."),
    on=_on,
)
