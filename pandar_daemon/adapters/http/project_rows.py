"""A project as the API shows it, folded from its own events."""

from __future__ import annotations

from collections.abc import Iterable

from events.envelope import Recorded
from events.task import Json
from projections.base import Row, fold, plain
from projections.projects import MEMBERS_TABLE, PROJECTS, PROJECTS_TABLE


def as_of(history: Iterable[Recorded]) -> Json | None:
    """Return the project after these events of one project, ``None`` when it was not made."""
    tables = fold(PROJECTS, history)
    members = [_member(row) for _, row in sorted(tables[MEMBERS_TABLE.name].items(), key=str)]
    for row in tables[PROJECTS_TABLE.name].values():
        shown = {name: plain(row[name]) for name, _ in PROJECTS_TABLE.columns}
        return None if row["owner"] is None else {**shown, "members": members}
    return None


def _member(row: Row) -> Json:
    return {"user": row["user_id"], "role": row["role"], "since": plain(row["since"])}
