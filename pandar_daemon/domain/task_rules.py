"""What several rules of a task share: who asks, the ways to refuse, the turns they end in."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from events import task as did
from events.task import FailureKind, Status
from pandar_daemon.domain.refusals import Rejected
from pandar_daemon.domain.task_state import Execution, Task


class Ask(Struct, frozen=True):
    """Who asks, and when; ``confirmations_max`` is how often an attempt may ask people."""

    at: datetime
    user: str
    confirmations_max: int = 100


class Stale(Rejected):
    """409: it comes from an execution that is over; kept for forensics, never applied."""


def refuse(task: Task, verb: str) -> Rejected:
    """Return the refusal of a verb in the present state."""
    state = str(task.status)
    return Rejected(f"cannot {verb} task {task.task_id} while it is {state}", state=state)


def status_of(task: Task) -> Status:
    """Return the status of a task that was filed."""
    assert task.status is not None  # noqa: S101 - decide refused it before
    return task.status


def retried(
    task: Task, not_before: datetime, *, reason: str, automatic: bool = False, counted: bool = False
) -> did.TaskRetried:
    """Return the event that queues the next attempt."""
    return did.TaskRetried(
        from_status=status_of(task),
        attempt=task.attempt + 1,
        not_before=not_before,
        automatic=automatic,
        counted=counted,
        reason=reason,
    )


def failed(task: Task, error: str, kind: FailureKind) -> did.TaskFailed:
    """Return the failure of a task whose last execution is already over."""
    return did.TaskFailed(execution_id=None, error=error, kind=kind, from_status=status_of(task))


def tell_outcome(task: Task, confirmation_id: UUID) -> None:
    """Raise `Rejected` with the outcome, if this confirmation was decided before."""
    for known in task.decided:
        if known.confirmation_id == confirmation_id:
            said = "expired" if known.expired else str(known.decision)
            by = f" by {known.by}" if known.by else ""
            msg = f"confirmation {confirmation_id} was already decided{by}: {said}"
            raise Rejected(msg, state=str(task.status))


def live_of(task: Task, execution_id: UUID, epoch: int) -> Execution:
    """Return the live execution a runner speaks of; raises `Stale` when it is another, or over."""
    live = task.execution
    if live is None or (live.execution_id, live.epoch) != (execution_id, epoch):
        msg = f"execution {execution_id} (epoch {epoch}) of task {task.task_id} is over"
        raise Stale(msg, state=str(task.status))
    return live
