"""What runners say of an agent at work: its calls, its questions, its sessions."""

from __future__ import annotations

from events import commands as do
from events import running as tell
from events import task as did
from events.calls import Verdict
from pandar_daemon.domain.refusals import Rejected
from pandar_daemon.domain.task_rules import live_of
from pandar_daemon.domain.task_state import Conversation, Task


def withdraw(task: Task, command: tell.WithdrawConfirmation) -> list[did.TaskEvent]:
    """Take back what was asked; silent when it is not pending any more."""
    live_of(task, command.execution_id, command.epoch)
    if task.pending is None or task.pending.confirmation_id != command.confirmation_id:
        return []
    of = command.confirmation_id
    return [did.ConfirmationWithdrawn(confirmation_id=of, reason=command.reason)]


def record(task: Task, command: tell.RecordCall) -> list[did.TaskEvent]:
    """Record what is done about a call; an approval that is quoted is used up by it."""
    live_of(task, command.execution_id, command.epoch)
    if command.confirmation_id is not None and command.verdict is Verdict.ALLOW:
        _check_approval(task, command)
    return [
        did.CallDecided(
            execution_id=command.execution_id,
            call=command.call,
            call_sha256=_sha256(command),
            verdict=command.verdict,
            rule=command.rule,
            gates=command.gates,
            confirmation_id=command.confirmation_id,
            grant_id=command.grant_id,
            reason=command.reason,
        )
    ]


def _check_approval(task: Task, command: tell.RecordCall) -> None:
    known = task.answered
    if (
        known is None
        or known.confirmation_id != command.confirmation_id
        or known.decision is not do.Decision.APPROVE
        or known.call_sha256 != _sha256(command)
        or task.cancel_requested
    ):
        msg = f"confirmation {command.confirmation_id} does not approve this call, or no longer"
        raise Rejected(msg, state=str(task.status))


def _sha256(command: tell.RecordCall) -> str:
    """Return the hash of a call as it was, which people saw, and approved, without its secrets."""
    return command.call_sha256 or command.call.sha256


def open_session(task: Task, command: tell.OpenSession) -> list[did.TaskEvent]:
    """Record the agent's name for its conversation; silent when it is known."""
    live_of(task, command.execution_id, command.epoch)
    known = Conversation(command.agent, command.session_id, command.store)
    if task.conversation == known:
        return []
    opened = did.SessionOpened(
        execution_id=command.execution_id,
        agent=command.agent,
        session_id=command.session_id,
        store=command.store,
    )
    return [opened]


def checkpoint(task: Task, command: tell.RecordCheckpoint) -> list[did.TaskEvent]:
    """Record what is kept of its files; silent when that is known."""
    live_of(task, command.execution_id, command.epoch)
    if task.checkpoint == command.ref:
        return []
    return [
        did.TaskCheckpointed(
            execution_id=command.execution_id,
            ref=command.ref,
            commit=command.commit,
            base=command.base,
            branch=command.branch,
            commits=command.commits,
            files=command.files,
            insertions=command.insertions,
            deletions=command.deletions,
            patch_bytes=command.patch_bytes,
            cut=command.cut,
            skipped=command.skipped,
        )
    ]


def answered(task: Task, command: tell.AnswerQuestion) -> list[did.TaskEvent]:
    """Record the answer to a question that is no gate."""
    live_of(task, command.execution_id, command.epoch)
    return [
        did.QuestionAnswered(
            execution_id=command.execution_id,
            question=command.question,
            answer=command.answer,
            by=command.by,
        )
    ]


def pushed(task: Task, command: tell.ReportPush) -> list[did.TaskEvent]:
    """Record what was pushed."""
    live_of(task, command.execution_id, command.epoch)
    return [
        did.TaskPushed(
            execution_id=command.execution_id,
            remote=command.remote,
            refs=command.refs,
            commits=command.commits,
            call_sha256=command.call_sha256,
        )
    ]


def switch(task: Task, command: tell.SwitchAgent) -> list[did.TaskEvent]:
    """Let another agent take over with the next attempt."""
    live_of(task, command.execution_id, command.epoch)
    if task.agent == command.to_agent:
        return []
    return [
        did.AgentSwitched(
            execution_id=command.execution_id,
            from_agent=task.agent or "",
            to_agent=command.to_agent,
            reason=command.reason,
        )
    ]


def narrowed(task: Task, command: tell.ReportNarrowed) -> list[did.TaskEvent]:
    """Record what a repository's own file did; silent when it did nothing."""
    live_of(task, command.execution_id, command.epoch)
    if not command.changes and not command.refused:
        return []
    return [
        did.PolicyNarrowed(
            execution_id=command.execution_id, changes=command.changes, refused=command.refused
        )
    ]


def blocked(task: Task, command: tell.ReportBlocked) -> list[did.TaskEvent]:
    """Record that a host was refused; how often one execution says so is its runner's affair."""
    live_of(task, command.execution_id, command.epoch)
    return [
        did.EgressBlocked(
            execution_id=command.execution_id,
            host=command.host,
            port=command.port,
            reason=command.reason,
            omitted=command.omitted,
        )
    ]
