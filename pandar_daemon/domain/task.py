"""The task decider: every rule about a task's life, as two pure functions.

``decide`` raises a `Refusal` and changes nothing, or says what happened (perhaps nothing).
``evolve`` (in `task_state`) accepts every recorded event, however old. What people ask is decided
here, decisions in `task_confirmation`, what runners say in `task_execution`.
"""

from __future__ import annotations

from typing import assert_never

from msgspec import UNSET

from events import commands as do
from events import running as tell
from events import task as did
from events.task import TERMINAL, Status
from pandar_daemon.domain import task_agents, task_confirmation, task_execution
from pandar_daemon.domain.partial import changed
from pandar_daemon.domain.refusals import NotFound
from pandar_daemon.domain.task_execution import Dispatch
from pandar_daemon.domain.task_rules import Ask, refuse, retried, status_of
from pandar_daemon.domain.task_state import Task

TaskCommand = (
    do.CreateTask
    | do.UpdateTask
    | do.DeleteTask
    | do.StartTask
    | do.ConfirmTask
    | do.CancelTask
    | do.RetryTask
    | do.LoseExecution
    | do.ExpireConfirmation
    | do.IssueLink
    | tell.ReportProgress
    | tell.AskConfirmation
    | tell.WithdrawConfirmation
    | tell.RecordCall
    | tell.OpenSession
    | tell.AnswerQuestion
    | tell.SwitchAgent
    | tell.ReportNarrowed
    | tell.ReportBlocked
    | tell.ReportPush
    | tell.FinishExecution
    | tell.RecordCheckpoint
    | Dispatch
)


def decide(task: Task, command: TaskCommand, ask: Ask) -> list[did.TaskEvent]:
    """Return what the command makes happen, perhaps nothing.

    Raises `NotFound` for a task that is not there, `Stale` for a runner whose execution is over,
    `Rejected`, naming the state, for all else the rules forbid.
    """
    if isinstance(command, do.CreateTask):
        return _create(task, command, ask)
    if task.status is None or task.deleted:
        raise NotFound(f"task {task.task_id}")
    match command:
        case do.UpdateTask():
            return _update(task, command)
        case do.DeleteTask():
            return _delete(task, command)
        case do.StartTask():
            return _start(task, command)
        case do.ConfirmTask():
            return task_confirmation.confirm(task, command, ask)
        case do.CancelTask():
            return _cancel(task, command)
        case do.RetryTask():
            return _retry(task, command, ask)
        case Dispatch():
            return task_execution.dispatch(task, command, ask)
        case tell.ReportProgress():
            return task_execution.progress(task, command)
        case tell.AskConfirmation():
            return task_execution.ask(task, command, ask)
        case tell.WithdrawConfirmation():
            return task_agents.withdraw(task, command)
        case tell.RecordCall():
            return task_agents.record(task, command)
        case tell.OpenSession():
            return task_agents.open_session(task, command)
        case tell.AnswerQuestion():
            return task_agents.answered(task, command)
        case tell.SwitchAgent():
            return task_agents.switch(task, command)
        case tell.ReportNarrowed():
            return task_agents.narrowed(task, command)
        case tell.ReportBlocked():
            return task_agents.blocked(task, command)
        case tell.RecordCheckpoint():
            return task_agents.checkpoint(task, command)
        case tell.ReportPush():
            return task_agents.pushed(task, command)
        case tell.FinishExecution():
            return task_execution.finish(task, command, ask)
        case do.LoseExecution():
            return task_execution.lose(task, command, ask)
        case do.ExpireConfirmation():
            return task_confirmation.expire(task, command, ask)
        case do.IssueLink():
            return task_confirmation.issue_link(task, command)
        case _:
            assert_never(command)


# --- what people ask -------------------------------------------------------------------------


def _create(task: Task, command: do.CreateTask, ask: Ask) -> list[did.TaskEvent]:
    if task.status is not None:
        raise refuse(task, "create")
    created = did.TaskCreated(
        task_id=task.task_id,
        project_id=command.project_id,
        name=command.name,
        command=command.command or "",
        created_by=ask.user,
        description=command.description or "",
        priority=command.priority,
        metadata=command.metadata,
        scheduled_at=command.scheduled_at,
        prompt=command.prompt or "",
    )
    start = command.scheduled_at is None if command.auto_start is None else command.auto_start
    return [created, did.StartRequested()] if start else [created]


def _update(task: Task, command: do.UpdateTask) -> list[did.TaskEvent]:
    moves = command.scheduled_at is not UNSET and command.scheduled_at != task.scheduled_at
    if moves and (task.status is not Status.PENDING or task.queued):
        raise refuse(task, "reschedule")
    changes = changed(command, task)
    return [did.TaskUpdated(**changes)] if changes else []


def _delete(task: Task, command: do.DeleteTask) -> list[did.TaskEvent]:
    if task.status in {Status.RUNNING, Status.WAITING_CONFIRMATION}:
        raise refuse(task, "delete")
    return [did.TaskDeleted(from_status=status_of(task), reason=command.reason)]


def _start(task: Task, command: do.StartTask) -> list[did.TaskEvent]:
    if task.status is not Status.PENDING:
        raise refuse(task, "start")
    return [] if task.queued else [did.StartRequested(reason=command.reason)]


def _cancel(task: Task, command: do.CancelTask) -> list[did.TaskEvent]:
    if task.status in TERMINAL:
        raise refuse(task, "cancel")
    if task.execution is None:
        return [did.TaskCancelled(from_status=status_of(task), reason=command.reason)]
    if task.cancel_requested:
        return []
    return [did.CancelRequested(reason=command.reason, from_status=status_of(task))]


def _retry(task: Task, command: do.RetryTask, ask: Ask) -> list[did.TaskEvent]:
    if task.status not in {Status.FAILED, Status.CANCELLED}:
        raise refuse(task, "retry")
    return [retried(task, ask.at, reason=command.reason)]
