"""What the rules need to know of a task, and how each event changes it.

``evolve`` accepts every recorded event, however old; the rules themselves stand in `task`.
"""

from __future__ import annotations

from uuid import UUID

import msgspec

from events import commands as do
from events import task as did
from events.calls import Allowance, Scope, Verdict
from events.task import Json, Status, Usage
from pandar_daemon.domain.partial import stated
from pandar_daemon.domain.policy import policy
from pandar_daemon.domain.sums import added
from pandar_daemon.domain.task_data import Conversation, Execution, Pending, Settled, Task

LOST_GATE = "lost_runner"
"""The gate of a task whose runner was lost: may it run again? Its agent asked nothing."""


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
            return _after_asked(task, event)
        case (
            did.ApprovalGiven()
            | did.LinkIssued()
            | did.ConfirmationEscalated()
            | did.ConfirmationWithdrawn()
        ):
            return _while_pending(task, event)
        case (
            did.TaskConfirmed()
            | did.TaskDenied()
            | did.ChangesRequested()
            | did.ConfirmationExpired()
        ):
            return _after_decision(task, event)
        case did.CallDecided():
            return _after_call(task, event)
        case did.QuestionAnswered():
            return _with(task, answered=None)
        case did.SessionOpened():
            talk = Conversation(event.agent, event.session_id, event.store)
            return _with(task, conversation=talk)
        case did.TaskCheckpointed():
            return _with(task, checkpoint=event.ref)
        case did.AgentSwitched():
            return _with(task, agent=event.to_agent, conversation=None, switched=True)
        case did.TaskParked():
            parked = _with(_spent(task, event.usage), execution=None, parked=True)
            return _with(parked, tail=event.output_tail)
        case did.ResumeRequested():
            return _with(task, status=Status.RUNNING, resuming=True, parked=False)
        case did.TaskPaused():
            return _after_paused(task, event)
        case did.CancelRequested():
            return _with(task, status=Status.RUNNING, cancel_requested=True, pending=None)
        case did.TaskCompleted():
            return _over(_spent(task, event.usage), Status.COMPLETED)
        case did.TaskFailed():
            tail = event.output_tail if task.prompt else ""
            return _with(_over(_spent(task, event.usage), Status.FAILED), tail=tail)
        case did.TaskCancelled():
            return _over(_spent(task, event.usage), Status.CANCELLED)
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
        prompt=event.prompt,
        created_by=event.created_by,
        priority=event.priority,
        metadata=event.metadata,
        scheduled_at=event.scheduled_at,
        policy=policy(event.metadata),
        agent=policy(event.metadata).agent,
    )


def _after_updated(task: Task, event: did.TaskUpdated) -> Task:
    updated = _with(task, **stated(event))
    terms = policy(updated.metadata)
    agent = task.agent if terms.agent == task.policy.agent else terms.agent
    return _with(updated, policy=terms, agent=agent)


def _after_started(task: Task, event: did.TaskStarted) -> Task:
    key = task.policy.concurrency_key
    execution = Execution(event.execution_id, event.epoch, event.runner_id, key, event.agent)
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
        asked=0 if event.resumes is None else task.asked,
        cancel_requested=False,
        parked=False,
        resuming=False,
        switched=False,
        store=event.store,
        allowances=_carried(task, event),
    )


def _carried(task: Task, event: did.TaskStarted) -> tuple[tuple[UUID | None, Allowance], ...]:
    """Return what was allowed beforehand: an execution's own goes on where that goes on."""
    return tuple(
        (event.execution_id if of else None, allowance)
        for of, allowance in task.allowances
        if of is None or of == event.resumes
    )


def _after_asked(task: Task, event: did.ConfirmationRequested) -> Task:
    return _with(
        task,
        status=Status.WAITING_CONFIRMATION,
        pending=_pending(event),
        asked=task.asked + (event.gate != LOST_GATE),
        answered=None,
    )


def _pending(event: did.ConfirmationRequested) -> Pending:
    card = event.card
    gates = card.get("gates")
    what = card.get("command") or card.get("title") or card.get("question")
    return Pending(
        confirmation_id=event.confirmation_id,
        card_sha256=event.card_sha256,
        expires_at=event.expires_at,
        gate=event.gate,
        gates=tuple(map(str, gates)) if isinstance(gates, list) else (event.gate,),
        what=what if isinstance(what, str) else "",
        call_sha256=event.call_sha256,
        on_timeout=event.on_timeout,
        quorum=event.quorum,
        prevent_self_approval=event.prevent_self_approval,
    )


def _while_pending(
    task: Task,
    event: did.ApprovalGiven
    | did.LinkIssued
    | did.ConfirmationEscalated
    | did.ConfirmationWithdrawn,
) -> Task:
    pending = task.pending
    if pending is None or pending.confirmation_id != event.confirmation_id:
        return task
    match event:
        case did.ApprovalGiven():
            changes: Json = {"votes": (*pending.votes, event.by)}
        case did.LinkIssued():
            changes = {"links": (*pending.links, (event.token_sha256, event.approver))}
        case did.ConfirmationEscalated():
            changes = {"escalated": True, "expires_at": event.expires_at}
        case did.ConfirmationWithdrawn():
            return _with(task, status=Status.RUNNING, pending=None)
    return _with(task, pending=msgspec.structs.replace(pending, **changes))


def _after_decision(
    task: Task,
    event: did.TaskConfirmed | did.TaskDenied | did.ChangesRequested | did.ConfirmationExpired,
) -> Task:
    settled = _settled(event)
    pending = task.pending
    if pending is not None:
        settled = msgspec.structs.replace(
            settled,
            gate=pending.gate,
            gates=pending.gates,
            what=pending.what,
            call_sha256=pending.call_sha256,
        )
    decided = (*task.decided, settled)
    answered = None if settled.gate == LOST_GATE else settled
    return _with(task, status=Status.RUNNING, pending=None, decided=decided, answered=answered)


def _settled(
    event: did.TaskConfirmed | did.TaskDenied | did.ChangesRequested | did.ConfirmationExpired,
) -> Settled:
    of = event.confirmation_id
    match event:
        case did.TaskConfirmed():
            return Settled(
                confirmation_id=of,
                decision=do.Decision.APPROVE,
                reason=event.reason,
                by=event.by,
                scope=event.scope,
                pattern=event.pattern,
            )
        case did.ChangesRequested():
            return Settled(
                confirmation_id=of,
                decision=do.Decision.CHANGES,
                reason=event.reason,
                by=event.by,
            )
        case did.TaskDenied():
            return Settled(
                confirmation_id=of, decision=do.Decision.DENY, reason=event.reason, by=event.by
            )
        case did.ConfirmationExpired():
            return Settled(confirmation_id=of, decision=do.Decision.DENY, expired=True)


def _after_call(task: Task, event: did.CallDecided) -> Task:
    used = task.answered
    if used is None or used.confirmation_id != event.confirmation_id:
        return task
    wide = used.scope in {Scope.EXECUTION, Scope.PATTERN}
    if not wide or event.verdict is not Verdict.ALLOW:
        return _with(task, answered=None)
    allowance = Allowance(
        gates=list(used.gates),
        pattern=used.pattern if used.scope is Scope.PATTERN else "",
        confirmation_id=str(used.confirmation_id),
    )
    of = event.execution_id if used.scope is Scope.EXECUTION else None
    return _with(task, answered=None, allowances=(*task.allowances, (of, allowance)))


def _after_paused(task: Task, event: did.TaskPaused) -> Task:
    return _with(
        _spent(task, event.usage),
        status=Status.PENDING,
        queued=True,
        not_before=event.until,
        execution=None,
        pending=None,
        cancel_requested=False,
        tail=event.output_tail,
        pauses=task.pauses + 1,
    )


def _spent(task: Task, usage: Usage) -> Task:
    if usage == Usage():
        return task
    return _with(task, spent=added(task.spent, usage))


def _over(task: Task, status: Status) -> Task:
    return _with(
        task,
        status=status,
        queued=False,
        not_before=None,
        execution=None,
        pending=None,
        answered=None,
        cancel_requested=False,
        parked=False,
        resuming=False,
    )


def _after_retried(task: Task, event: did.TaskRetried) -> Task:
    return _with(
        task,
        status=Status.PENDING,
        queued=True,
        not_before=event.not_before,
        execution=None,
        pending=None,
        parked=False,
        retries=task.retries + event.counted if event.automatic else 0,
        pauses=task.pauses if event.automatic else 0,
        conversation=task.conversation if _interrupted(task) else None,
    )


def _interrupted(task: Task) -> bool:
    """Whether its last execution did not end by itself: then its conversation can go on."""
    return task.status in {Status.RUNNING, Status.WAITING_CONFIRMATION}


__all__ = ["Conversation", "Execution", "Pending", "Settled", "Task", "evolve", "initial"]
