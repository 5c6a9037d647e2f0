"""What the rules need to know of a task, and how each event changes it.

``evolve`` accepts every recorded event, however old; the rules themselves stand in `task`.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from events import commands as do
from events import task as did
from events.task import Json, Priority, Status
from pandar_daemon.domain.partial import stated
from pandar_daemon.domain.policy import Policy, policy


class Execution(Struct, frozen=True):
    """One attempt; ``held_key`` is the concurrency key reserved for it."""

    execution_id: UUID
    epoch: int
    runner_id: str
    held_key: str | None = None


class Pending(Struct, frozen=True):
    """The confirmation that waits for a decision."""

    confirmation_id: UUID
    card_sha256: str
    expires_at: datetime


class Task(Struct, frozen=True):
    """What the rules need to know of a task; ``status`` is ``None`` before it was filed."""

    task_id: int
    status: Status | None = None
    deleted: bool = False
    project_id: int = 0
    name: str = ""
    description: str = ""
    command: str = ""
    priority: Priority = Priority.MEDIUM
    metadata: Json = {}
    scheduled_at: datetime | None = None
    policy: Policy = Policy()
    queued: bool = False  # a runner may take it; only while PENDING
    not_before: datetime | None = None  # only while PENDING and queued
    attempt: int = 0  # executions started so far
    retries: int = 0  # automatic retries used since somebody last asked for one
    epoch: int = 0  # the last epoch given out
    execution: Execution | None = None  # live: its lease is held
    last_execution: UUID | None = None
    progress: int = 0
    pending: Pending | None = None  # set exactly while WAITING_CONFIRMATION
    decided: tuple[tuple[UUID, do.Decision], ...] = ()
    cancel_requested: bool = False  # only while an execution is live


def initial(task_id: int) -> Task:
    """Return a task nobody has filed yet."""
    return Task(task_id)


def evolve(task: Task, event: did.Event) -> Task:
    """Return the task after an event; one it does not know leaves it as it is."""
    match event:
        case did.TaskCreated():
            return _created(event)
        case did.TaskUpdated():
            return _after_updated(task, event)
        case did.TaskDeleted():
            return _with(task, deleted=True)
        case did.StartRequested():
            return _with(task, queued=True)
        case did.TaskStarted():
            return _after_started(task, event)
        case did.TaskProgressed():
            return _with(task, progress=event.progress)
        case did.ConfirmationRequested():
            pending = Pending(event.confirmation_id, event.card_sha256, event.expires_at)
            return _with(task, status=Status.WAITING_CONFIRMATION, pending=pending)
        case did.TaskConfirmed():
            return _after_decision(task, event.confirmation_id, do.Decision.APPROVE)
        case did.TaskDenied() | did.ConfirmationExpired():
            return _after_decision(task, event.confirmation_id, do.Decision.DENY)
        case did.ChangesRequested():
            return _after_decision(task, event.confirmation_id, do.Decision.CHANGES)
        case did.CancelRequested():
            return _with(task, status=Status.RUNNING, cancel_requested=True, pending=None)
        case did.TaskCompleted():
            return _over(task, Status.COMPLETED)
        case did.TaskFailed():
            return _over(task, Status.FAILED)
        case did.TaskCancelled():
            return _over(task, Status.CANCELLED)
        case did.TaskRetried():
            return _after_retried(task, event)
        case did.ExecutionLost():
            return _with(task, execution=None, cancel_requested=False)
        case _:
            return task


def _with(task: Task, **changes: object) -> Task:
    return msgspec.structs.replace(task, **changes)


def _created(event: did.TaskCreated) -> Task:
    return Task(
        task_id=event.task_id,
        status=Status.PENDING,
        project_id=event.project_id,
        name=event.name,
        description=event.description,
        command=event.command,
        priority=event.priority,
        metadata=event.metadata,
        scheduled_at=event.scheduled_at,
        policy=policy(event.metadata),
    )


def _after_updated(task: Task, event: did.TaskUpdated) -> Task:
    updated = _with(task, **stated(event))
    return _with(updated, policy=policy(updated.metadata))


def _after_started(task: Task, event: did.TaskStarted) -> Task:
    execution = Execution(
        event.execution_id, event.epoch, event.runner_id, task.policy.concurrency_key
    )
    return _with(
        task,
        status=Status.RUNNING,
        queued=False,
        not_before=None,
        attempt=event.attempt,
        epoch=event.epoch,
        execution=execution,
        last_execution=event.execution_id,
        progress=0,
        cancel_requested=False,
    )


def _after_decision(task: Task, confirmation_id: UUID, decision: do.Decision) -> Task:
    decided = (*task.decided, (confirmation_id, decision))
    return _with(task, status=Status.RUNNING, pending=None, decided=decided)


def _over(task: Task, status: Status) -> Task:
    return _with(
        task,
        status=status,
        queued=False,
        not_before=None,
        execution=None,
        pending=None,
        cancel_requested=False,
    )


def _after_retried(task: Task, event: did.TaskRetried) -> Task:
    return _with(
        task,
        status=Status.PENDING,
        queued=True,
        not_before=event.not_before,
        execution=None,
        pending=None,
        retries=task.retries + event.counted if event.automatic else 0,
    )
