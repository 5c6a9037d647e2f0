"""The execution protocol: what runners, and the reaper on their behalf, may say.

`dispatch` starts an execution under a lease with a new epoch. Everything its runner says quotes
execution and epoch and is refused as `Stale` once that execution is over. An execution ends
exactly once: finished by its runner, or lost when its lease expired.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from uuid import UUID, uuid5

import msgspec
from msgspec import Struct

from events import commands as do
from events import running as tell
from events import task as did
from events.task import FailureKind, Json, Status
from pandar_daemon.domain.retry import backoff_sec
from pandar_daemon.domain.task_confirmation import overasked, resumed
from pandar_daemon.domain.task_rules import (
    Ask,
    failed,
    live_of,
    refuse,
    retried,
    status_of,
    tell_outcome,
)
from pandar_daemon.domain.task_state import LOST_GATE, Task, evolve

RECOVERY_SEC = 24 * 3600.0
"""How long a lost task waits for somebody to decide whether it runs again."""
_NOT_AGAIN = frozenset({FailureKind.DENIED, FailureKind.LIMIT})
"""Asking again would overrule who said no; a full folder is as full for the next attempt."""


class Dispatch(Struct, frozen=True, kw_only=True):
    """The daemon gives a queued task to a runner."""

    execution_id: UUID
    runner_id: str
    store: str = ""


def dispatch(task: Task, command: Dispatch, ask: Ask) -> list[did.TaskEvent]:
    """Start an execution of a queued task whose pause is over, or of a parked one that goes on."""
    early = task.not_before is not None and ask.at < task.not_before
    queued = task.status is Status.PENDING and task.queued and not early
    elsewhere = task.resuming and task.store and command.store not in {"", task.store}
    if elsewhere or not (queued or task.resuming):
        raise refuse(task, "dispatch")
    started = did.TaskStarted(
        execution_id=command.execution_id,
        attempt=task.attempt + 1,
        epoch=task.epoch + 1,
        runner_id=command.runner_id,
        agent=task.agent,
        resumes=task.last_execution if task.resuming else None,
        store=command.store,
    )
    if not task.resuming:
        return [started]
    back = did.TaskResumed(
        execution_id=command.execution_id, epoch=started.epoch, runner_id=command.runner_id
    )
    return [started, back]


def progress(task: Task, command: tell.ReportProgress) -> list[did.TaskEvent]:
    """Record how far it is; silent when that is known."""
    live_of(task, command.execution_id, command.epoch)
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


def ask(task: Task, command: tell.AskConfirmation, by: Ask) -> list[did.TaskEvent]:
    """Stop at a gate, unless it asks too often; silent when this very request is pending."""
    live_of(task, command.execution_id, command.epoch)
    wanted = command.confirmation_id
    if task.pending is not None and task.pending.confirmation_id == wanted:
        return []
    if task.pending is not None or task.cancel_requested:
        raise refuse(task, "ask about")
    tell_outcome(task, wanted)
    requested = did.ConfirmationRequested(
        confirmation_id=wanted,
        execution_id=command.execution_id,
        gate=command.gate,
        card=command.card,
        card_sha256=card_sha256(command.card),
        expires_at=command.expires_at,
        call_sha256=command.call_sha256,
        on_timeout=command.on_timeout,
        quorum=command.quorum,
        prevent_self_approval=command.prevent_self_approval,
    )
    if task.asked < by.confirmations_max:
        return [requested]
    return [requested, *overasked(evolve(task, requested), by.confirmations_max)]


def finish(task: Task, command: tell.FinishExecution, ask: Ask) -> list[did.TaskEvent]:
    """End the execution; a failure with retries left queues the next attempt."""
    agent = live_of(task, command.execution_id, command.epoch).agent
    if command.outcome is tell.Outcome.LOST:
        return _give_up(task, command, ask)
    if command.outcome is tell.Outcome.COMPLETED:
        return [_completed(task, command, agent)]
    if command.outcome is tell.Outcome.PARKED and not task.cancel_requested:
        return _parked(task, command, agent)
    if command.outcome is tell.Outcome.PAUSED and not task.cancel_requested:
        return [_paused(task, command, ask, agent)]
    if command.outcome is tell.Outcome.CANCELLED or task.cancel_requested:
        return [_cancelled(task, command, agent)]
    again = command.kind not in _NOT_AGAIN and task.retries < task.policy.max_retries
    will_retry = task.switched or again
    failed = did.TaskFailed(
        execution_id=command.execution_id,
        error=command.error,
        kind=command.kind,
        from_status=status_of(task),
        exit_code=command.exit_code,
        **_told(command, agent),
        will_retry=will_retry,
    )
    if not will_retry:
        return [failed]
    after = evolve(task, failed)
    if task.switched:
        return [failed, retried(after, ask.at, reason=f"{task.agent} takes over", automatic=True)]
    return [failed, _retried_later(after, ask)]


def _told(command: tell.FinishExecution, agent: str | None) -> Json:
    """Return what the end of any execution tells of it."""
    return {
        "output_tail": command.output_tail,
        "duration_sec": command.duration_sec,
        "output_bytes": command.output_bytes,
        "cut": command.cut,
        "usage": command.usage,
        "agent": agent,
    }


def _parked(task: Task, command: tell.FinishExecution, agent: str | None) -> list[did.TaskEvent]:
    """End an execution that waits; what was decided in that very moment lets it go on at once."""
    parked = did.TaskParked(
        execution_id=command.execution_id,
        session_id=task.conversation.session_id if task.conversation else "",
        **_told(command, agent),
    )
    if task.pending is not None:
        return [parked]
    return [parked, *resumed(evolve(task, parked), "decided while it was parked")]


def _paused(
    task: Task, command: tell.FinishExecution, ask: Ask, agent: str | None
) -> did.TaskPaused:
    """Wait as long as the provider says; longer each time, should it not be true."""
    least = timedelta(seconds=backoff_sec(task.pauses - 1) if task.pauses else 0.0)
    until = command.until or ask.at + timedelta(seconds=backoff_sec(10))
    return did.TaskPaused(
        execution_id=command.execution_id,
        reason="quota",
        until=max(until, ask.at + least),
        from_status=status_of(task),
        detail=command.error,
        **_told(command, agent),
    )


def _retried_later(task: Task, ask: Ask) -> did.TaskRetried:
    pause = timedelta(seconds=backoff_sec(task.retries))
    reason = f"retry {task.retries + 1} of {task.policy.max_retries}"
    return retried(task, ask.at + pause, reason=reason, automatic=True, counted=True)


def _completed(task: Task, command: tell.FinishExecution, agent: str | None) -> did.TaskCompleted:
    return did.TaskCompleted(
        execution_id=command.execution_id,
        exit_code=command.exit_code or 0,
        **_told(command, agent),
        from_status=status_of(task),
    )


def _cancelled(task: Task, command: tell.FinishExecution, agent: str | None) -> did.TaskCancelled:
    return did.TaskCancelled(
        from_status=status_of(task),
        reason=command.error,
        execution_id=command.execution_id,
        exit_code=command.exit_code,
        **_told(command, agent),
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
    live = live_of(task, terms.execution_id, terms.epoch)
    lost = did.ExecutionLost(
        execution_id=live.execution_id,
        epoch=live.epoch,
        runner_id=live.runner_id,
        begun=terms.begun,
        reason=reason,
        given_up=given_up,
        agent=live.agent,
    )
    return [lost, *_after_loss(evolve(task, lost), task, terms, ask)]


def _after_loss(
    task: Task, before: Task, command: do.LoseExecution, ask: Ask
) -> list[did.TaskEvent]:
    if before.cancel_requested:
        return [did.TaskCancelled(from_status=status_of(task), reason="its runner was lost")]
    if task.pending is not None:
        return []  # the confirmation outlives the process; its decision says how to go on
    if task.answered is not None and task.conversation is not None:
        return resumed(task, "its runner was lost before it heard the decision")
    if not command.begun:
        return [retried(task, ask.at, reason="its runner was lost before it began", automatic=True)]
    if task.policy.on_lost == "fail":
        return [failed(task, "its runner was lost", FailureKind.LOST_RUNNER)]
    if task.policy.on_lost == "retry" and task.retries < task.policy.max_retries:
        return [_retried_later(task, ask)]
    card = _recovery_card(task, before, command)
    return [
        did.ConfirmationRequested(
            confirmation_id=command.confirmation_id,
            execution_id=command.execution_id,
            gate=LOST_GATE,
            card=card,
            card_sha256=card_sha256(card),
            expires_at=command.expires_at,
        )
    ]


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
