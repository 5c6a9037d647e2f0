"""The API's rows as the command line reads them: fields it does not know are ignored."""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

import msgspec
from msgspec import Struct

from events.task import Cut, Json, Priority, Status, Usage

_T = TypeVar("_T", bound=Struct)


class TaskRow(Struct, frozen=True, kw_only=True):
    """A task as the API shows it."""

    id: int
    name: str
    status: Status
    command: str = ""
    prompt: str | None = None
    agent: str | None = None
    project_id: int = 0
    description: str | None = ""
    priority: Priority = Priority.MEDIUM
    status_reason: str | None = None
    progress: int | None = None
    output: str | None = None
    error: str | None = None
    exit_code: int | None = None
    duration: float | None = None
    metadata: Json | None = None
    created_by: str | int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    scheduled_at: datetime | None = None
    attempt: int = 0
    runner_id: str | None = None
    confirmation_id: str | None = None
    version: int = 0
    position: int = 0


class ExecutionRow(Struct, frozen=True, kw_only=True):
    """One attempt of a task."""

    attempt: int
    status: str
    runner_id: str | None = None
    agent: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    duration: float | None = None
    exit_code: int | None = None
    error: str | None = None
    cut: Cut | None = None
    usage: Usage | None = None


class OutputRow(Struct, frozen=True, kw_only=True):
    """What an attempt wrote, or the end of it; ``cut`` is what is not kept of it."""

    output: str
    cut: Cut | None = None


class HappenedRow(Struct, frozen=True, kw_only=True):
    """One entry of a task's timeline; ``data`` is the event as recorded."""

    position: int
    type: str
    at: datetime | None = None
    actor: str = ""
    summary: str = ""
    data: Json = {}


class ProjectRow(Struct, frozen=True, kw_only=True):
    """A project, with its members where they were asked for."""

    id: int
    name: str
    owner: str | int | None = None
    git_url: str | None = ""
    base_branch: str | None = ""
    setup: str | None = ""
    description: str | None = ""
    created_at: datetime | None = None
    members: list[Json] = []


class ForeignAnswer(Exception):
    """The answer is not one of Pandar's API: is the URL right, and the daemon of this release?"""


def read(kind: type[_T], row: object) -> _T:
    """Return a row of the API as ``kind``; raises `ForeignAnswer` when it is not one."""
    try:
        return msgspec.convert(row, kind)
    except msgspec.ValidationError as error:
        name = kind.__name__.removesuffix("Row").lower()
        raise ForeignAnswer(f"not a {name}: {error}") from error
