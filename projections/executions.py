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
    TaskResumed,
    TaskStarted,
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
    event: TaskCompleted | TaskFailed | TaskCancelled, status: Status, recorded: Recorded
) -> Row:
    cut = None if event.cut is None else {"start": event.cut.start, "end": event.cut.end}
    usage = {"cpu_sec": event.usage.cpu_sec, "max_rss_bytes": event.usage.max_rss_bytes}
    return {
        "status": status.value,
        "completed_at": recorded.recorded_at,
        "duration": event.duration_sec,
        "exit_code": event.exit_code,
        "output_tail": storable(event.output_tail),
        "output_bytes": event.output_bytes,
        "cut": cut,
        "usage": usage,
    }


@_changes.register
def _completed(event: TaskCompleted, recorded: Recorded) -> list[Change]:
    row = _ended(event, Status.COMPLETED, recorded)
    return [Upsert(TABLE.name, (task_id(recorded), event.execution_id), row)]


@_changes.register
def _failed(event: TaskFailed, recorded: Recorded) -> list[Change]:
    if event.execution_id is None:
        return []  # the execution ended when it was lost; this ends the task
    row = {**_ended(event, Status.FAILED, recorded), "error": storable(event.error)}
    return [Upsert(TABLE.name, (task_id(recorded), event.execution_id), row)]


@_changes.register
def _cancelled(event: TaskCancelled, recorded: Recorded) -> list[Change]:
    if event.execution_id is None:
        return []
    row = _ended(event, Status.CANCELLED, recorded)
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
    name="executions", version=1, tables=(TABLE,), handles=types_of(_CASES), on=_on
)
