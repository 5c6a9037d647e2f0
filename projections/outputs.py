"""The index of outputs: how many bytes each attempt wrote, what was cut, whether more may come."""

from __future__ import annotations

from typing import Final

from events.envelope import Recorded
from events.task import (
    Event,
    ExecutionLost,
    TaskCancelled,
    TaskCompleted,
    TaskDeleted,
    TaskFailed,
    TaskParked,
    TaskPaused,
    TaskStarted,
)
from projections.base import Change, Delete, ReadModel, Row, Table, Upsert, project_id, task_id

TABLE: Final = Table(
    name="outputs",
    columns=(
        ("task_id", "bigint"),
        ("execution_id", "uuid"),
        ("project_id", "bigint"),
        ("attempt", "integer"),
        ("bytes", "bigint"),
        ("cut_start", "bigint"),
        ("cut_end", "bigint"),
        ("complete", "boolean"),
    ),
    key=("task_id", "execution_id"),
)

HANDLES: Final = (
    "task.started",
    "task.execution_lost",
    "task.completed",
    "task.failed",
    "task.cancelled",
    "task.parked",
    "task.paused",
    "task.deleted",
)


def _on(recorded: Recorded, event: Event) -> list[Change]:
    match event:
        case TaskStarted():
            row: Row = {
                "project_id": project_id(recorded),
                "attempt": event.attempt,
                "bytes": 0,
                "complete": False,
            }
            return [Upsert(TABLE.name, (task_id(recorded), event.execution_id), row)]
        case ExecutionLost():
            return [Upsert(TABLE.name, (task_id(recorded), event.execution_id), {"complete": True})]
        case TaskCompleted() | TaskFailed() | TaskCancelled() | TaskParked() | TaskPaused():
            return _ended(recorded, event)
        case TaskDeleted():
            return [Delete(TABLE.name, (task_id(recorded),))]
        case _:
            return []


def _ended(
    recorded: Recorded,
    event: TaskCompleted | TaskFailed | TaskCancelled | TaskParked | TaskPaused,
) -> list[Change]:
    if event.execution_id is None:
        return []
    row: Row = {"complete": True}
    if event.output_bytes:  # a lost execution's size is unknown: 0 says nothing
        row["bytes"] = event.output_bytes
    if event.cut is not None:
        row |= {"cut_start": event.cut.start, "cut_end": event.cut.end}
    return [Upsert(TABLE.name, (task_id(recorded), event.execution_id), row)]


OUTPUTS: Final = ReadModel(name="outputs", version=2, tables=(TABLE,), handles=HANDLES, on=_on)
