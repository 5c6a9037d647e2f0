"""The execution protocol: what runners, and the reaper on their behalf, may say.

`dispatch` starts an execution under a lease with a new epoch. Everything its runner says quotes
execution and epoch and is refused as `Stale` once that execution is over. An execution ends
exactly once: finished by its runner, or lost when its lease expired.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from uuid import UUID, uuid5

import msgspec
from msgspec import Struct

from events import commands as do
from events import running as tell
from events import task as did
from events.task import FailureKind, Json, Status
from pandar_daemon.domain.retry import backoff_sec
from pandar_daemon.domain.task_rules import (
    Ask,
    Stale,
    failed,
    refuse,
    retried,
    status_of,
    tell_outcome,
)
from pandar_daemon.domain.task_state import Execution, Task, evolve

LOST_GATE = "lost_runner"
RECOVERY_SEC = 24 * 3600.0
"""How long a lost task waits for somebody to decide whether it runs again."""


class Dispatch(Struct, frozen=True, kw_only=True):
    """The daemon gives a queued task to a runner."""

    execution_id: UUID
    runner_id: str


def dispatch(task: Task, command: Dispatch, ask: Ask) -> list[did.TaskEvent]:
    """Start an execution of a queued task whose pause is over."""
    early = task.not_before is not None and ask.at < task.not_before
    if task.status is not Status.PENDING or not task.queued or early:
        raise refuse(task, "dispatch")
    return [
        did.TaskStarted(
            execution_id=command.execution_id,
            attempt=task.attempt + 1,
            epoch=task.epoch + 1,
            runner_id=command.runner_id,
        )
    ]


def _live(task: Task, execution_id: UUID, epoch: int) -> Execution:
    live = task.execution
    if live is None or (live.execution_id, live.epoch) != (execution_id, epoch):
        msg = f"execution {execution_id} (epoch {epoch}) of task {task.task_id} is over"
        raise Stale(msg, state=str(task.status))
    return live


def progress(task: Task, command: tell.ReportProgress) -> list[did.TaskEvent]:
    """Record how far it is; silent when that is known."""
    _live(task, command.execution_id, command.epoch)
    if command.progress == task.progress:
        return []
    return [
        did.TaskProgressed(
            execution_id=command.execution_id, progress=command.progress, message=command.message
        )
    ]


def card_sha256(card: Json) -> str:
    """Return the hash a decision quotes: SHA-256, in hex, of the card's JSON with sorted keys."""
    return hashlib.sha256(msgspec.json.encode(card, order="sorted")).hexdigest()


def _requested(
    execution_id: UUID, confirmation_id: UUID, gate: str, card: Json, expires_at: datetime
) -> did.ConfirmationRequested:
    return did.ConfirmationRequested(
        confirmation_id=confirmation_id,
        execution_id=execution_id,
        gate=gate,
        card=card,
        card_sha256=card_sha256(card),
        expires_at=expires_at,
    )


def ask(task: Task, command: tell.AskConfirmation) -> list[did.TaskEvent]:
    """Stop at a gate; silent when this very request is pending."""
    _live(task, command.execution_id, command.epoch)
    wanted = command.confirmation_id
    if task.pending is not None and task.pending.confirmation_id == wanted:
        return []
    if task.pending is not None or task.cancel_requested:
        raise refuse(task, "ask about")
    tell_outcome(task, wanted)
    return [
        _requested(command.execution_id, wanted, command.gate, command.card, command.expires_at)
    ]


def finish(task: Task, command: tell.FinishExecution, ask: Ask) -> list[did.TaskEvent]:
    """End the execution; a failure with retries left queues the next attempt."""
    _live(task, command.execution_id, command.epoch)
    if command.outcome is tell.Outcome.LOST:
        return _give_up(task, command, ask)
    if command.outcome is tell.Outcome.COMPLETED:
        return [_completed(task, command)]
    if command.outcome is tell.Outcome.CANCELLED or task.cancel_requested:
        return [_cancelled(task, command)]
    denied = command.kind is FailureKind.DENIED  # asking again would overrule who said no
    will_retry = not denied and task.retries < task.policy.max_retries
    failed = did.TaskFailed(
        execution_id=command.execution_id,
        error=command.error,
        kind=command.kind,
        from_status=status_of(task),
        exit_code=command.exit_code,
        output_tail=command.output_tail,
        duration_sec=command.duration_sec,
        output_bytes=command.output_bytes,
        cut=command.cut,
        usage=command.usage,
        will_retry=will_retry,
    )
    return [failed, _retried_later(evolve(task, failed), ask)] if will_retry else [failed]


def _retried_later(task: Task, ask: Ask) -> did.TaskRetried:
    pause = timedelta(seconds=backoff_sec(task.retries))
    reason = f"retry {task.retries + 1} of {task.policy.max_retries}"
    return retried(task, ask.at + pause, reason=reason, automatic=True, counted=True)


def _completed(task: Task, command: tell.FinishExecution) -> did.TaskCompleted:
    return did.TaskCompleted(
        execution_id=command.execution_id,
        exit_code=command.exit_code or 0,
        output_tail=command.output_tail,
        duration_sec=command.duration_sec,
        output_bytes=command.output_bytes,
        cut=command.cut,
        usage=command.usage,
        from_status=status_of(task),
    )


def _cancelled(task: Task, command: tell.FinishExecution) -> did.TaskCancelled:
    return did.TaskCancelled(
        from_status=status_of(task),
        reason=command.error,
        execution_id=command.execution_id,
        exit_code=command.exit_code,
        output_tail=command.output_tail,
        duration_sec=command.duration_sec,
        output_bytes=command.output_bytes,
        cut=command.cut,
        usage=command.usage,
    )


def lose(task: Task, command: do.LoseExecution, ask: Ask) -> list[did.TaskEvent]:
    """End an execution whose lease expired, and go on as the task's ``on_lost`` says."""
    return _lose(task, command, ask)


def _give_up(task: Task, command: tell.FinishExecution, ask: Ask) -> list[did.TaskEvent]:
    """End an execution its runner gave up, going on as if its lease had expired."""
    terms = do.LoseExecution(
        execution_id=command.execution_id,
        epoch=command.epoch,
        begun=True,
        confirmation_id=uuid5(command.execution_id, LOST_GATE),
        expires_at=ask.at + timedelta(seconds=RECOVERY_SEC),
    )
    return _lose(task, terms, ask, reason=command.error, given_up=True)


def _lose(
    task: Task, terms: do.LoseExecution, ask: Ask, *, reason: str = "", given_up: bool = False
) -> list[did.TaskEvent]:
    live = _live(task, terms.execution_id, terms.epoch)
    lost = did.ExecutionLost(
        execution_id=live.execution_id,
        epoch=live.epoch,
        runner_id=live.runner_id,
        begun=terms.begun,
        reason=reason,
        given_up=given_up,
    )
    return [lost, *_after_loss(evolve(task, lost), task, terms, ask)]


def _after_loss(
    task: Task, before: Task, command: do.LoseExecution, ask: Ask
) -> list[did.TaskEvent]:
    if before.cancel_requested:
        return [did.TaskCancelled(from_status=status_of(task), reason="its runner was lost")]
    if task.pending is not None:
        return []  # the confirmation outlives the process; its decision says how to go on
    if not command.begun:
        return [retried(task, ask.at, reason="its runner was lost before it began", automatic=True)]
    if task.policy.on_lost == "fail":
        return [failed(task, "its runner was lost", FailureKind.LOST_RUNNER)]
    if task.policy.on_lost == "retry" and task.retries < task.policy.max_retries:
        return [_retried_later(task, ask)]
    card = _recovery_card(task, before, command)
    requested = _requested(
        command.execution_id, command.confirmation_id, LOST_GATE, card, command.expires_at
    )
    return [requested]


def _recovery_card(task: Task, before: Task, command: do.LoseExecution) -> Json:
    assert before.execution is not None  # noqa: S101 - it was lost just now
    return {
        "gate": LOST_GATE,
        "task_id": task.task_id,
        "attempt": task.attempt,
        "execution_id": str(command.execution_id),
        "runner_id": before.execution.runner_id,
        "command": task.command,
        "progress": before.progress,
        "question": "The runner vanished while this was running; parts of it may have been done.",
        "approve": "run it again from the start",
        "deny": "leave it and mark the task as failed",
    }
