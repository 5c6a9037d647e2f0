"""The rules of confirmations: the first decision wins, whoever races, and every wait has an end."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta

from events import commands as do
from events import task as did
from events.calls import Scope
from events.task import FailureKind, OnTimeout, Status
from pandar_daemon.domain.refusals import NotFound, Rejected
from pandar_daemon.domain.task_rules import Ask, failed, refuse, retried, tell_outcome
from pandar_daemon.domain.task_state import LOST_GATE, Pending, Settled, Task, evolve


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
    by = ask.user if command.link is None else approver_of(task, command.link)
    return _decided(task, task.pending, command, by, ask)


def approver_of(task: Task, link: str) -> str:
    """Return for whom a link speaks; raises `NotFound` when it is not, or no longer, good."""
    token = hashlib.sha256(link.encode()).hexdigest()
    for known, approver in task.pending.links if task.pending else ():
        if known == token:
            return approver
    raise NotFound("such link")


def issue_link(task: Task, command: do.IssueLink) -> list[did.TaskEvent]:
    """Make a link good for the pending confirmation; silent when it is."""
    pending = task.pending
    if pending is None or pending.confirmation_id != command.confirmation_id:
        tell_outcome(task, command.confirmation_id)
        raise refuse(task, "make a link for that confirmation of")
    if (command.token_sha256, command.approver) in pending.links:
        return []
    return [
        did.LinkIssued(
            confirmation_id=command.confirmation_id,
            approver=command.approver,
            token_sha256=command.token_sha256,
        )
    ]


def _confirm_again(task: Task, command: do.ConfirmTask) -> list[did.TaskEvent]:
    """A second approver followed the same link: nothing, if it says what was decided.

    Once a cancellation took the pending one away, only a quoted id can mean a decided one.
    """
    meant = command.confirmation_id is not None or not task.cancel_requested
    if task.status is Status.RUNNING and task.decided and meant:
        wanted = command.confirmation_id or task.decided[-1].confirmation_id
        made = ((known.confirmation_id, known.decision) for known in task.decided)
        if (wanted, command.decision) in made:
            return []
        tell_outcome(task, wanted)
    elif command.confirmation_id is not None:
        tell_outcome(task, command.confirmation_id)
    raise refuse(task, "confirm")


def _decided(
    task: Task, pending: Pending, command: do.ConfirmTask, by: str, ask: Ask
) -> list[did.TaskEvent]:
    of, reason = pending.confirmation_id, command.reason
    match command.decision:
        case do.Decision.APPROVE:
            return _approved(task, pending, command, by, ask)
        case do.Decision.DENY:
            denied = did.TaskDenied(confirmation_id=of, reason=reason, by=by)
            return [denied, *_after_denial(task, denied, reason or "denied")]
        case do.Decision.CHANGES:
            lost = task.execution is None and not _can_resume(task)
            if lost or not reason:
                msg = "changes need a reason to pass on, and a live execution to receive it"
                raise Rejected(msg, state=str(task.status))
            changes = did.ChangesRequested(confirmation_id=of, reason=reason, by=by)
            return [changes, *resumed(evolve(task, changes), "changes were asked for")]


def _approved(
    task: Task, pending: Pending, command: do.ConfirmTask, by: str, ask: Ask
) -> list[did.TaskEvent]:
    of, reason = pending.confirmation_id, command.reason
    if pending.prevent_self_approval and by == task.created_by:
        msg = f"{by} filed this task: somebody else must approve"
        raise Rejected(msg, state=str(task.status))
    if by in pending.votes:
        return []
    if len(pending.votes) + 1 < pending.quorum:
        return [did.ApprovalGiven(confirmation_id=of, by=by, reason=reason)]
    _check_scope(task, command)
    approved = did.TaskConfirmed(
        confirmation_id=of,
        reason=reason,
        by=by,
        scope=command.scope,
        pattern=command.pattern,
        uses=command.uses,
        until=command.until,
        gates=[] if command.scope is Scope.CALL else list(pending.gates),
    )
    if task.execution is not None:
        return [approved]
    again = evolve(task, approved)
    if _can_resume(task):
        return [approved, *resumed(again, "approved")]
    return [approved, retried(again, ask.at, reason="approved after its runner was lost")]


def _check_scope(task: Task, command: do.ConfirmTask) -> None:
    wide = command.scope in {Scope.PATTERN, Scope.PROJECT}
    if wide and not command.pattern:
        msg = f"an approval of scope {command.scope} needs a pattern; `*` is everything"
        raise Rejected(msg, state=str(task.status))
    if not wide and command.pattern:
        msg = "a pattern needs the scope pattern or project"
        raise Rejected(msg, state=str(task.status))


def _can_resume(task: Task) -> bool:
    """Whether a new process can go on where the one that asked was ended."""
    asked = task.pending is not None and task.pending.gate != LOST_GATE
    return asked and (task.parked or task.conversation is not None)


def resumed(task: Task, reason: str) -> list[did.TaskEvent]:
    """Return what lets a decided task go on: nothing while its execution is live."""
    return [did.ResumeRequested(reason=reason)] if task.execution is None else []


def _after_denial(
    task: Task, denied: did.TaskDenied | did.ConfirmationExpired, error: str
) -> Sequence[did.TaskEvent]:
    after = evolve(task, denied)
    if task.execution is None and not _can_resume(task):
        return [failed(after, error, FailureKind.DENIED)]
    if task.policy.on_deny == "cancel":
        return cancelled(after, error)
    return resumed(after, "denied")


def overasked(task: Task, limit: int) -> list[did.TaskEvent]:
    """Deny what an attempt asks oftener than it may; end it when it goes on for as long again.

    Nobody is asked. ``task`` is after the request.
    """
    assert task.pending is not None  # noqa: S101 - it was asked just now
    why = f"this attempt has asked {limit} times, and may not ask more often"
    denied = did.TaskDenied(confirmation_id=task.pending.confirmation_id, reason=why)
    if task.asked > 2 * limit:
        return [denied, *cancelled(evolve(task, denied), f"it went on asking after {limit} times")]
    return [denied, *_after_denial(task, denied, why)]


def cancelled(task: Task, reason: str) -> list[did.TaskEvent]:
    """End a running task: by its runner, if it has one."""
    if task.execution is not None:
        return [did.CancelRequested(reason=reason)]
    return [did.TaskCancelled(from_status=Status.RUNNING, reason=reason)]


def expire(task: Task, command: do.ExpireConfirmation, ask: Ask) -> list[did.TaskEvent]:
    """End a confirmation nobody decided in time, as if denied; silent when it was decided."""
    pending = task.pending
    if pending is None or pending.confirmation_id != command.confirmation_id:
        return []
    if ask.at < pending.expires_at:
        raise Rejected("the confirmation has not expired yet", state=str(task.status))
    if pending.on_timeout is OnTimeout.ESCALATE and not pending.escalated:
        until = ask.at + timedelta(seconds=task.policy.confirm_timeout_sec)
        of = command.confirmation_id
        return [did.ConfirmationEscalated(confirmation_id=of, expires_at=until)]
    expired = did.ConfirmationExpired(confirmation_id=command.confirmation_id)
    if pending.on_timeout is OnTimeout.CANCEL:
        return [expired, *cancelled(evolve(task, expired), "nobody decided in time")]
    return [expired, *_after_denial(task, expired, "nobody decided in time")]


def settled(task: Task, confirmation_id: object) -> Settled | None:
    """Return what was decided on a confirmation, ``None`` when nothing was."""
    found = (known for known in task.decided if known.confirmation_id == confirmation_id)
    return next(found, None)
