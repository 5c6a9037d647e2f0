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
    ConfirmationWithdrawn,
    Event,
    Status,
    TaskCancelled,
    TaskCompleted,
    TaskConfirmed,
    TaskCreated,
    TaskDeleted,
    TaskDenied,
    TaskFailed,
    TaskPaused,
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

PENDING: Final = Status.PENDING.value
RUNNING: Final = Status.RUNNING.value
WAITING: Final = Status.WAITING_CONFIRMATION.value

Move = tuple[str | None, str | None]
"""From where to where, by the statuses' names; ``None`` is where no task is shown."""


@singledispatch
def _move(_event: Event) -> Move:
    return None, None


@_move.register
def _created(_event: TaskCreated) -> Move:
    return None, PENDING


@_move.register
def _started(event: TaskStarted) -> Move:
    return (PENDING if event.resumes is None else RUNNING), RUNNING


@_move.register
def _asked(_event: ConfirmationRequested) -> Move:
    return RUNNING, WAITING


@_move.register(TaskConfirmed)
@_move.register(TaskDenied)
@_move.register(ChangesRequested)
@_move.register(ConfirmationExpired)
@_move.register(ConfirmationWithdrawn)
def _decided(_event: Event) -> Move:
    return WAITING, RUNNING


@_move.register
def _cancel_requested(event: CancelRequested) -> Move:
    return event.from_status.value, RUNNING


@_move.register
def _completed(event: TaskCompleted) -> Move:
    return event.from_status.value, Status.COMPLETED.value


@_move.register
def _failed(event: TaskFailed) -> Move:
    return event.from_status.value, Status.FAILED.value


@_move.register
def _cancelled(event: TaskCancelled) -> Move:
    return event.from_status.value, Status.CANCELLED.value


@_move.register
def _retried(event: TaskRetried) -> Move:
    return event.from_status.value, PENDING


@_move.register
def _paused(event: TaskPaused) -> Move:
    return event.from_status.value, PENDING


@_move.register
def _deleted(event: TaskDeleted) -> Move:
    return event.from_status.value, None


def _on(recorded: Recorded, event: Event) -> list[Change]:
    before, after = _CASES.get(type(event), _move)(event)
    project = project_id(recorded)
    changes: list[Change] = []
    if before != after:
        if before is not None:
            changes.append(Increment(COUNTS.name, (project, before), {"tasks": -1}))
        if after is not None:
            changes.append(Increment(COUNTS.name, (project, after), {"tasks": 1}))
    if type(event) in _ENDS and (took := _took(event)) > 0:
        took_ms = {"executions": 1, "duration_ms": round(took * 1000)}
        changes.append(Increment(DURATIONS.name, (project,), took_ms))
    return changes


_ENDS: Final = frozenset({TaskCompleted, TaskFailed, TaskCancelled})


def _took(event: Event) -> float:
    if isinstance(event, TaskCompleted | TaskFailed | TaskCancelled):
        return event.duration_sec
    return 0.0


_CASES: Final = _move.registry

STATS: Final = ReadModel(
    name="stats", version=2, tables=(COUNTS, DURATIONS), handles=types_of(_CASES), on=_on
)
