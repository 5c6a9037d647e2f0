"""Everything anybody could ask of a task, also what is stale, forged or too early."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

from events import commands as do
from events import running as tell
from events import task as did
from events.calls import CallKind, Scope, ToolCall, Verdict
from events.task import Json
from pandar_daemon.domain.task import TaskCommand
from pandar_daemon.domain.task_execution import Dispatch
from pandar_daemon.domain.task_state import Task
from tests.support.given import NOW, PROJECT_ID, TASK_ID

POLICIES: list[Json] = [
    {},
    {"max_retries": 1, "concurrency_key": "db"},
    {"max_retries": 1, "on_lost": "confirm", "on_deny": "cancel"},
    {"on_lost": "fail", "on_deny": "cancel", "concurrency_key": "db"},
    {"max_retries": 2, "on_lost": "retry", "concurrency_key": "other"},
]
CALL = ToolCall(kind=CallKind.EXECUTE, command="git push origin main", cwd="/w")
LINK = "a-secret"
LINK_SHA256 = hashlib.sha256(LINK.encode()).hexdigest()
NEVER = UUID(int=1)


def commands(task: Task) -> Iterator[tuple[TaskCommand, datetime]]:
    """Yield everything anybody could ask, also what is stale, forged or too early."""
    yield from ((command, NOW) for command in _people(task))
    due = task.not_before or NOW
    for at in {NOW, due, due - timedelta(seconds=1)}:
        yield Dispatch(execution_id=UUID(int=100 + task.epoch), runner_id="r"), at
    for execution, epoch in _executions(task):
        yield from ((command, NOW) for command in _runners(task, execution, epoch))
    for confirmation in _confirmations(task):
        expire = do.ExpireConfirmation(confirmation_id=confirmation)
        yield expire, NOW
        yield expire, NOW + timedelta(days=2)
        link = do.IssueLink(confirmation_id=confirmation, approver="bob", token_sha256=LINK_SHA256)
        yield link, NOW
        yield do.ConfirmTask(confirmation_id=confirmation, link=LINK), NOW


def _people(task: Task) -> Iterator[TaskCommand]:
    yield do.CreateTask(name="a", command="c", project_id=PROJECT_ID)
    yield do.CreateTask(name="a", command="c", project_id=PROJECT_ID, auto_start=False)
    yield from (do.StartTask(), do.CancelTask(), do.RetryTask(), do.DeleteTask())
    yield from (do.UpdateTask(name="a"), do.UpdateTask(name="b"))
    yield do.UpdateTask(scheduled_at=NOW)
    for n, policy in enumerate(POLICIES):
        yield do.UpdateTask(metadata={**policy, "n": n})
    for confirmation in (None, *_confirmations(task)):
        for decision in do.Decision:
            for sha256 in (None, "0" * 64):
                yield do.ConfirmTask(
                    decision=decision,
                    confirmation_id=confirmation,
                    card_sha256=sha256,
                    reason="so",
                )
        for scope in Scope:
            yield do.ConfirmTask(confirmation_id=confirmation, scope=scope, pattern="git push *")
            yield do.ConfirmTask(confirmation_id=confirmation, scope=scope)


def _runners(task: Task, execution: UUID, epoch: int) -> Iterator[TaskCommand]:
    fresh = UUID(int=10_000 + 100 * task.epoch + len(task.decided))
    for progress in (0, 50):
        yield tell.ReportProgress(
            task_id=TASK_ID, execution_id=execution, epoch=epoch, progress=progress
        )
    held: Json = {"task_id": TASK_ID, "execution_id": execution, "epoch": epoch}
    for confirmation in {fresh, *_confirmations(task)}:
        for quorum, on_timeout in ((1, "deny"), (2, "escalate")):
            yield tell.AskConfirmation(
                **held,
                confirmation_id=confirmation,
                gate="g",
                card={"id": str(confirmation)},
                expires_at=NOW + timedelta(days=1),
                call_sha256=CALL.sha256,
                on_timeout=did.OnTimeout(on_timeout),
                quorum=quorum,
            )
        yield tell.WithdrawConfirmation(**held, confirmation_id=confirmation)
        for verdict in Verdict:
            yield tell.RecordCall(
                **held, call=CALL, verdict=verdict, rule="r", confirmation_id=confirmation
            )
    yield tell.RecordCall(**held, call=CALL, verdict=Verdict.ALLOW, rule="r")
    yield tell.OpenSession(**held, agent="demo", session_id="s-1")
    yield tell.RecordCheckpoint(**held, ref="refs/p/1", commit="c" * 40, base="b" * 40)
    yield tell.AnswerQuestion(**held, question="?", answer="!", by="proxy:demo")
    yield tell.ReportNarrowed(**held, changes=["policy auto → manual"], refused=["level"])
    yield tell.ReportBlocked(**held, host="example.org", port=443, reason="not on the list")
    yield tell.ReportPush(**held, remote="r", refs=[did.PushedRef(ref="refs/heads/x")])
    for outcome in tell.Outcome:
        for kind in (did.FailureKind.EXIT_CODE, did.FailureKind.DENIED):
            yield tell.FinishExecution(
                task_id=TASK_ID, execution_id=execution, epoch=epoch, outcome=outcome, kind=kind
            )
    for begun in (False, True):
        yield do.LoseExecution(
            execution_id=execution,
            epoch=epoch,
            begun=begun,
            confirmation_id=fresh,
            expires_at=NOW + timedelta(days=1),
        )


def _executions(task: Task) -> set[tuple[UUID, int]]:
    """The live one, the last one, each under a wrong epoch too."""
    ids = {NEVER, *filter(None, (task.last_execution,))}
    return {(one, epoch) for one in ids for epoch in (task.epoch, task.epoch - 1)}


def _confirmations(task: Task) -> set[UUID]:
    """The pending one, the last one decided, and one nobody ever heard of."""
    pending = {task.pending.confirmation_id} if task.pending else set()
    return {NEVER, *pending, *(known.confirmation_id for known in task.decided[-1:])}
