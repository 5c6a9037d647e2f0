"""The rules of confirmations: the first decision wins, whoever races, and every wait has an end."""

from __future__ import annotations

from uuid import UUID

from events import commands as do
from events import task as did
from events.task import FailureKind, Status
from pandar_daemon.domain.refusals import Rejected
from pandar_daemon.domain.task_rules import Ask, failed, refuse, retried, tell_outcome
from pandar_daemon.domain.task_state import Task, evolve


def confirm(task: Task, command: do.ConfirmTask, ask: Ask) -> list[did.TaskEvent]:
    """Decide the pending confirmation; silent on a repeat of what was decided."""
    if task.pending is None:
        return _confirm_again(task, command)
    wanted = command.confirmation_id
    if wanted is not None and wanted != task.pending.confirmation_id:
        tell_outcome(task, wanted)
        msg = f"confirmation {wanted} is not pending; {task.pending.confirmation_id} is"
        raise Rejected(msg, state=str(task.status))
    if command.card_sha256 not in {None, task.pending.card_sha256}:
        msg = "the request changed since you saw it: read the card again and decide on its hash"
        raise Rejected(msg, state=str(task.status))
    return _decided(task, task.pending.confirmation_id, command, ask)


def _confirm_again(task: Task, command: do.ConfirmTask) -> list[did.TaskEvent]:
    """A second approver followed the same link: nothing, if it says what was decided.

    Once a cancellation took the pending one away, only a quoted id can mean a decided one.
    """
    meant = command.confirmation_id is not None or not task.cancel_requested
    if task.status is Status.RUNNING and task.decided and meant:
        wanted = command.confirmation_id or task.decided[-1][0]
        if (wanted, command.decision) in task.decided:
            return []
        tell_outcome(task, wanted)
    raise refuse(task, "confirm")


def _decided(
    task: Task, confirmation_id: UUID, command: do.ConfirmTask, ask: Ask
) -> list[did.TaskEvent]:
    reason = command.reason
    match command.decision:
        case do.Decision.APPROVE:
            approved = did.TaskConfirmed(confirmation_id=confirmation_id, reason=reason)
            if task.execution is not None:
                return [approved]
            again = evolve(task, approved)
            return [approved, retried(again, ask.at, reason="approved after its runner was lost")]
        case do.Decision.DENY:
            denied = did.TaskDenied(confirmation_id=confirmation_id, reason=reason)
            return [denied, *_after_denial(evolve(task, denied), reason or "denied")]
        case do.Decision.CHANGES:
            if task.execution is None or not reason:
                msg = "changes need a reason to pass on, and a live execution to receive it"
                raise Rejected(msg, state=str(task.status))
            return [did.ChangesRequested(confirmation_id=confirmation_id, reason=reason)]


def _after_denial(task: Task, error: str) -> list[did.TaskEvent]:
    if task.execution is None:
        return [failed(task, error, FailureKind.DENIED)]
    if task.policy.on_deny == "cancel":
        return [did.CancelRequested(reason=error)]
    return []


def expire(task: Task, command: do.ExpireConfirmation, ask: Ask) -> list[did.TaskEvent]:
    """End a confirmation nobody decided in time, as if denied; silent when it was decided."""
    pending = task.pending
    if pending is None or pending.confirmation_id != command.confirmation_id:
        return []
    if ask.at < pending.expires_at:
        raise Rejected("the confirmation has not expired yet", state=str(task.status))
    expired = did.ConfirmationExpired(confirmation_id=command.confirmation_id)
    return [expired, *_after_denial(evolve(task, expired), "nobody decided in time")]
