"""Tasks as the API shows them: one row a task, its latest attempt.

Between a retry and the start of the next attempt the row keeps the output, error and exit code of
the attempt before, so that one sees why it is tried again; older attempts are in `executions`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import singledispatch
from typing import Final

from msgspec import UNSET

from events.envelope import Recorded
from events.task import (
    CancelRequested,
    ChangesRequested,
    ConfirmationEscalated,
    ConfirmationExpired,
    ConfirmationRequested,
    ConfirmationWithdrawn,
    Event,
    ExecutionLost,
    FailureKind,
    Json,
    Priority,
    ResumeRequested,
    StartRequested,
    Status,
    TaskCancelled,
    TaskCompleted,
    TaskConfirmed,
    TaskCreated,
    TaskDeleted,
    TaskDenied,
    TaskFailed,
    TaskParked,
    TaskPaused,
    TaskProgressed,
    TaskResumed,
    TaskRetried,
    TaskStarted,
    TaskUpdated,
)
from projections.base import Change, ReadModel, Row, Upsert, fold, plain, storable, task_id
from projections.task_table import FIELDS, RANK, TABLE, WORDS, minute


def _on(recorded: Recorded, event: Event) -> list[Change]:
    row = _CASES.get(type(event), _values)(event, recorded)
    row["updated_at"] = recorded.recorded_at
    row["version"] = recorded.version
    row["position"] = recorded.position
    key = (task_id(recorded),)
    texts: Row = {}
    for name, place in _TEXTS:
        if name in row:
            texts[place] = row[name] or (row.get("prompt") if name == "command" else None) or None
    if "created_at" in row:
        texts["minute"] = minute(recorded.recorded_at)
    return [Upsert(TABLE.name, key, row), *([Upsert(WORDS.name, key, texts)] if texts else [])]


_TEXTS: Final = tuple((name, f"in_{name}") for name in ("name", "description", "command", "output"))
PENDING: Final = Status.PENDING.value
RUNNING: Final = Status.RUNNING.value


@singledispatch
def _values(_event: Event, _recorded: Recorded) -> Row:
    """Return the columns an event states, as a row of its own."""
    return {}


@_values.register
def _created(event: TaskCreated, recorded: Recorded) -> Row:
    return {
        "project_id": event.project_id,
        "name": storable(event.name),
        "description": storable(event.description),
        "command": storable(event.command),
        "prompt": storable(event.prompt) or None,
        "status": PENDING,
        "progress": 0,
        "created_by": event.created_by,
        "created_at": recorded.recorded_at,
        "scheduled_at": event.scheduled_at,
        "attempt": 0,
        "deleted": False,
        **_prioritised(event.priority),
        **_described(event.metadata),
    }


def _prioritised(priority: Priority) -> Row:
    return {"priority": priority.value, "priority_rank": RANK[priority]}


def _described(metadata: Json) -> Row:
    key = metadata.get("concurrency_key")
    return {"metadata": metadata, "concurrency_key": key if key and isinstance(key, str) else None}


@_values.register
def _updated(event: TaskUpdated, _recorded: Recorded) -> Row:
    row: Row = {}
    if event.name is not UNSET:
        row["name"] = storable(event.name)
    if event.description is not UNSET:
        row["description"] = storable(event.description)
    if event.priority is not UNSET:
        row |= _prioritised(event.priority)
    if event.metadata is not UNSET:
        row |= _described(event.metadata)
    if event.scheduled_at is not UNSET:
        row["scheduled_at"] = event.scheduled_at
    return row


@_values.register
def _deleted(_event: TaskDeleted, _recorded: Recorded) -> Row:
    return {"deleted": True}


@_values.register
def _start_requested(_event: StartRequested, recorded: Recorded) -> Row:
    return {"status_reason": "queued", "queued_at": recorded.recorded_at}


@_values.register
def _started(event: TaskStarted, recorded: Recorded) -> Row:
    if event.resumes is not None:
        return {
            "status": RUNNING,
            "status_reason": None,
            "attempt": event.attempt,
            "execution_id": event.execution_id,
            "runner_id": event.runner_id,
            "agent": event.agent,
        }
    return {
        "status": RUNNING,
        "status_reason": None,
        "progress": 0,
        "output": None,
        "error": None,
        "exit_code": None,
        "duration": None,
        "started_at": recorded.recorded_at,
        "completed_at": None,
        "attempt": event.attempt,
        "execution_id": event.execution_id,
        "runner_id": event.runner_id,
        "agent": event.agent,
        "not_before": None,
    }


@_values.register
def _progressed(event: TaskProgressed, _recorded: Recorded) -> Row:
    return {"progress": event.progress}


@_values.register
def _confirmation_requested(event: ConfirmationRequested, _recorded: Recorded) -> Row:
    named = event.gate in {"lost_runner", "question"}
    return {
        "status": Status.WAITING_CONFIRMATION.value,
        "status_reason": event.gate if named else f"gate:{storable(event.gate)}",
        "confirmation_id": event.confirmation_id,
        "confirmation_expires_at": event.expires_at,
    }


_NOTHING_TO_CONFIRM: Final[Row] = {"confirmation_id": None, "confirmation_expires_at": None}


@_values.register(TaskConfirmed)
@_values.register(TaskDenied)
@_values.register(ChangesRequested)
@_values.register(ConfirmationExpired)
@_values.register(ConfirmationWithdrawn)
def _decided(_event: Event, _recorded: Recorded) -> Row:
    return {"status": RUNNING, "status_reason": None, **_NOTHING_TO_CONFIRM}


@_values.register
def _escalated(event: ConfirmationEscalated, _recorded: Recorded) -> Row:
    return {"confirmation_expires_at": event.expires_at}


@_values.register
def _resume_requested(_event: ResumeRequested, recorded: Recorded) -> Row:
    return {
        "status": RUNNING,
        "status_reason": "resuming",
        "queued_at": recorded.recorded_at,
        "not_before": None,
    }


@_values.register
def _paused(event: TaskPaused, recorded: Recorded) -> Row:
    return {
        "status": PENDING,
        "status_reason": event.reason,
        "queued_at": recorded.recorded_at,
        "not_before": event.until,
        "runner_id": None,
        **_NOTHING_TO_CONFIRM,
    }


@_values.register
def _parked(_event: TaskParked, _recorded: Recorded) -> Row:
    return {"status_reason": "parked", "runner_id": None}


@_values.register
def _resumed(event: TaskResumed, _recorded: Recorded) -> Row:
    return {"status_reason": None, "runner_id": event.runner_id}


def _ended(
    event: TaskCompleted | TaskFailed | TaskCancelled, status: Status, recorded: Recorded
) -> Row:
    over: Row = {
        "status": status.value,
        "status_reason": None,
        "completed_at": recorded.recorded_at,
        **_NOTHING_TO_CONFIRM,
    }
    if event.execution_id is None:
        return over  # its execution ended before; that said what came of it
    return {
        **over,
        "output": storable(event.output_tail),
        "exit_code": event.exit_code,
        "duration": event.duration_sec,
    }


@_values.register
def _completed(event: TaskCompleted, recorded: Recorded) -> Row:
    return {**_ended(event, Status.COMPLETED, recorded), "progress": 100}


@_values.register
def _failed(event: TaskFailed, recorded: Recorded) -> Row:
    reason = None if event.kind is FailureKind.EXIT_CODE else event.kind.value
    error = storable(event.error)
    return {**_ended(event, Status.FAILED, recorded), "error": error, "status_reason": reason}


@_values.register
def _cancel_requested(_event: CancelRequested, _recorded: Recorded) -> Row:
    return {
        "status": RUNNING,
        "status_reason": "cancel_requested",
        **_NOTHING_TO_CONFIRM,
    }


@_values.register
def _cancelled(event: TaskCancelled, recorded: Recorded) -> Row:
    return _ended(event, Status.CANCELLED, recorded)


@_values.register
def _retried(event: TaskRetried, recorded: Recorded) -> Row:
    return {
        "status": PENDING,
        "status_reason": "retry_at",
        "progress": 0,
        "completed_at": None,
        "queued_at": recorded.recorded_at,
        "not_before": event.not_before,
        "runner_id": None,
        **_NOTHING_TO_CONFIRM,
    }


@_values.register
def _lost(_event: ExecutionLost, _recorded: Recorded) -> Row:
    return {"runner_id": None}  # why it waits, if it does, is told by the next event


_CASES: Final = _values.registry

TASKS: Final = ReadModel(name="tasks", version=4, tables=(TABLE, WORDS), handles=("task.",), on=_on)


def shown(row: Mapping[str, object], now: datetime, *, key_held: bool = False) -> Json:
    """Return a row of this model as the API's task: times as RFC 3339, ids as text.

    ``now`` decides whether a retry is still to come, ``key_held`` whether another task holds the
    concurrency key.
    """
    task = {name: plain(row[name]) for name, _ in FIELDS}
    task["status_reason"] = _reason(row, now, key_held=key_held)
    return task


def _reason(row: Mapping[str, object], now: datetime, *, key_held: bool) -> object:
    reason, not_before = row["status_reason"], row["not_before"]
    if row["status"] != Status.PENDING:
        return reason
    if reason is None:
        return None if row["scheduled_at"] is None else "scheduled"
    if reason in {"retry_at", "quota"} and isinstance(not_before, datetime) and not_before > now:
        return reason
    return "blocked_key" if key_held else "queued"


def as_of(history: Iterable[Recorded], now: datetime) -> Json | None:
    """Return the API's task after these events of one task, ``None`` when deleted or not filed."""
    for row in fold(TASKS, history)[TABLE.name].values():
        return None if row["deleted"] or row["name"] is None else shown(row, now)
    return None
