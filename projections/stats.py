"""Counts of tasks by project and status, and how long executions took; read in O(projects).

Every event that moves a task to another status says, by its type or its ``from_status``, which one
it left: so counting needs no look at the task. Deleted tasks leave the counts; the durations of
their executions stay.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Final

from events.envelope import Recorded
from events.task import (
    CancelRequested,
    ChangesRequested,
    ConfirmationExpired,
    ConfirmationRequested,
    Event,
    Status,
    TaskCancelled,
    TaskCompleted,
    TaskConfirmed,
    TaskCreated,
    TaskDeleted,
    TaskDenied,
    TaskFailed,
    TaskRetried,
    TaskStarted,
)
from projections.base import Change, Increment, ReadModel, Table, project_id, types_of

COUNTS: Final = Table(
    name="task_counts",
    columns=(("project_id", "bigint"), ("status", "text"), ("tasks", "bigint")),
    key=("project_id", "status"),
)
DURATIONS: Final = Table(
    name="task_durations",
    columns=(("project_id", "bigint"), ("executions", "bigint"), ("duration_ms", "bigint")),
    key=("project_id",),
)

Move = tuple[Status | None, Status | None]
"""From where to where; ``None`` is where no task is shown."""


@singledispatch
def _move(_event: Event) -> Move:
    return None, None


@_move.register
def _created(_event: TaskCreated) -> Move:
    return None, Status.PENDING


@_move.register
def _started(_event: TaskStarted) -> Move:
    return Status.PENDING, Status.RUNNING


@_move.register
def _asked(_event: ConfirmationRequested) -> Move:
    return Status.RUNNING, Status.WAITING_CONFIRMATION


@_move.register(TaskConfirmed)
@_move.register(TaskDenied)
@_move.register(ChangesRequested)
@_move.register(ConfirmationExpired)
def _decided(_event: Event) -> Move:
    return Status.WAITING_CONFIRMATION, Status.RUNNING


@_move.register
def _cancel_requested(event: CancelRequested) -> Move:
    return event.from_status, Status.RUNNING


@_move.register
def _completed(event: TaskCompleted) -> Move:
    return event.from_status, Status.COMPLETED


@_move.register
def _failed(event: TaskFailed) -> Move:
    return event.from_status, Status.FAILED


@_move.register
def _cancelled(event: TaskCancelled) -> Move:
    return event.from_status, Status.CANCELLED


@_move.register
def _retried(event: TaskRetried) -> Move:
    return event.from_status, Status.PENDING


@_move.register
def _deleted(event: TaskDeleted) -> Move:
    return event.from_status, None


def _on(recorded: Recorded, event: Event) -> list[Change]:
    before, after = _CASES.get(type(event), _move)(event)
    project = project_id(recorded)
    changes: list[Change] = [
        Increment(COUNTS.name, (project, status.value), {"tasks": by})
        for status, by in ((before, -1), (after, 1))
        if status is not None and before is not after
    ]
    if isinstance(event, TaskCompleted | TaskFailed | TaskCancelled) and event.duration_sec > 0:
        took = {"executions": 1, "duration_ms": round(event.duration_sec * 1000)}
        changes.append(Increment(DURATIONS.name, (project,), took))
    return changes


_CASES: Final = _move.registry

STATS: Final = ReadModel(
    name="stats", version=1, tables=(COUNTS, DURATIONS), handles=types_of(_CASES), on=_on
)
