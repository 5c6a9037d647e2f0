"""Executions: one row an attempt, kept when the task is tried again."""

from __future__ import annotations

from functools import singledispatch
from typing import Final

from events.envelope import Recorded
from events.task import (
    Event,
    ExecutionLost,
    Status,
    TaskCancelled,
    TaskCompleted,
    TaskDeleted,
    TaskFailed,
    TaskParked,
    TaskPaused,
    TaskResumed,
    TaskStarted,
    Usage,
)
from projections.base import (
    Change,
    Delete,
    ReadModel,
    Row,
    Table,
    Upsert,
    storable,
    task_id,
    types_of,
)

LOST: Final = "lost"
"""The status of an execution whose runner vanished; the others are those of tasks."""

PARKED: Final = "parked"
"""The status of an execution that was ended while a confirmation waits."""

PAUSED: Final = "paused"
"""The status of an execution that ended for the provider's quota, and goes on later."""

RUNNING: Final = Status.RUNNING.value

TABLE: Final = Table(
    name="executions",
    columns=(
        ("task_id", "bigint"),
        ("execution_id", "uuid"),
        ("attempt", "integer"),
        ("runner_id", "text"),
        ("agent", "text"),
        ("status", "text"),
        ("started_at", "timestamptz"),
        ("completed_at", "timestamptz"),
        ("duration", "double precision"),
        ("exit_code", "bigint"),
        ("error", "text"),
        ("output_tail", "text"),
        ("output_bytes", "bigint"),
        ("cut", "json"),
        ("usage", "json"),
    ),
    key=("task_id", "execution_id"),
)


@singledispatch
def _changes(_event: Event, _recorded: Recorded) -> list[Change]:
    return []


def _on(recorded: Recorded, event: Event) -> list[Change]:
    return _CASES.get(type(event), _changes)(event, recorded)


@_changes.register
def _started(event: TaskStarted, recorded: Recorded) -> list[Change]:
    row: Row = {
        "attempt": event.attempt,
        "runner_id": event.runner_id,
        "agent": event.agent,
        "status": RUNNING,
        "started_at": recorded.recorded_at,
    }
    return [Upsert(TABLE.name, (task_id(recorded), event.execution_id), row)]


@_changes.register
def _resumed(event: TaskResumed, recorded: Recorded) -> list[Change]:
    row: Row = {"runner_id": event.runner_id}
    return [Upsert(TABLE.name, (task_id(recorded), event.execution_id), row)]


def _ended(
    event: TaskCompleted | TaskFailed | TaskCancelled | TaskParked | TaskPaused,
    status: str,
    recorded: Recorded,
) -> Row:
    cut = None if event.cut is None else {"start": event.cut.start, "end": event.cut.end}
    usage = {
        name: value
        for name in Usage.__struct_fields__
        if (value := getattr(event.usage, name)) is not None
    }
    exit_code = None if isinstance(event, TaskParked | TaskPaused) else event.exit_code
    return {
        "status": status,
        "completed_at": recorded.recorded_at,
        "duration": event.duration_sec,
        "exit_code": exit_code,
        "output_tail": storable(event.output_tail),
        "output_bytes": event.output_bytes,
        "cut": cut,
        "usage": usage,
    }


@_changes.register
def _parked(event: TaskParked, recorded: Recorded) -> list[Change]:
    row = _ended(event, PARKED, recorded)
    return [Upsert(TABLE.name, (task_id(recorded), event.execution_id), row)]


@_changes.register
def _paused(event: TaskPaused, recorded: Recorded) -> list[Change]:
    row = {**_ended(event, PAUSED, recorded), "error": storable(event.detail) or None}
    return [Upsert(TABLE.name, (task_id(recorded), event.execution_id), row)]


@_changes.register
def _completed(event: TaskCompleted, recorded: Recorded) -> list[Change]:
    row = _ended(event, Status.COMPLETED.value, recorded)
    return [Upsert(TABLE.name, (task_id(recorded), event.execution_id), row)]


@_changes.register
def _failed(event: TaskFailed, recorded: Recorded) -> list[Change]:
    if event.execution_id is None:
        return []  # the execution ended when it was lost; this ends the task
    row = {**_ended(event, Status.FAILED.value, recorded), "error": storable(event.error)}
    return [Upsert(TABLE.name, (task_id(recorded), event.execution_id), row)]


@_changes.register
def _cancelled(event: TaskCancelled, recorded: Recorded) -> list[Change]:
    if event.execution_id is None:
        return []
    row = _ended(event, Status.CANCELLED.value, recorded)
    return [Upsert(TABLE.name, (task_id(recorded), event.execution_id), row)]


@_changes.register
def _lost(event: ExecutionLost, recorded: Recorded) -> list[Change]:
    row: Row = {
        "status": LOST,
        "completed_at": recorded.recorded_at,
        "error": storable(event.reason) or "its runner was lost",
    }
    return [Upsert(TABLE.name, (task_id(recorded), event.execution_id), row)]


@_changes.register
def _deleted(_event: TaskDeleted, recorded: Recorded) -> list[Change]:
    return [Delete(TABLE.name, (task_id(recorded),))]


_CASES: Final = _changes.registry

EXECUTIONS: Final = ReadModel(
    name="executions", version=2, tables=(TABLE,), handles=types_of(_CASES), on=_on
)
