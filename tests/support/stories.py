"""Lives of a task, as short words for what happened and what is asked."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from msgspec import UNSET, UnsetType

from events import commands as do
from events import running as tell
from events import task as did
from events.calls import CallKind, ToolCall, Verdict
from events.task import FailureKind, Json, Status
from pandar_daemon.domain.task_execution import Dispatch, card_sha256
from tests.support.given import NOW, PROJECT_ID, TASK_ID, USER

DEADLINE = NOW + timedelta(hours=24)
CARD: Json = {"gate": "git_push", "diff": "+1 -0"}
RUNNER = "build-1"
CALL = ToolCall(kind=CallKind.EXECUTE, command="git push origin main", cwd="/w")
LINK_SHA256 = "a" * 64


def execution(n: int) -> UUID:
    """Return the id of the n-th execution."""
    return UUID(f"0195512a-7c00-7000-8000-0000000001{n:02x}")


def confirmation(n: int) -> UUID:
    """Return the id of the n-th confirmation."""
    return UUID(f"0195512a-7c00-7000-8000-0000000002{n:02x}")


# --- what happened ---------------------------------------------------------------------------


def created(**metadata: object) -> did.TaskCreated:
    """Return the filing of the task with this metadata."""
    return did.TaskCreated(
        task_id=TASK_ID,
        project_id=PROJECT_ID,
        name="tidy up",
        command="make tidy",
        created_by=USER,
        metadata=metadata,
    )


def filed(**metadata: object) -> list[did.TaskEvent]:
    """Return a task that nobody started."""
    return [created(**metadata)]


def queued(**metadata: object) -> list[did.TaskEvent]:
    """Return a task that waits for a runner."""
    return [*filed(**metadata), did.StartRequested()]


def started(n: int = 1) -> did.TaskStarted:
    """Return the start of the n-th execution, whose epoch is n."""
    return did.TaskStarted(execution_id=execution(n), attempt=n, epoch=n, runner_id=RUNNER)


def running(**metadata: object) -> list[did.TaskEvent]:
    """Return a task whose first execution runs."""
    return [*queued(**metadata), started()]


def asked(n: int = 1, *, by: int = 1) -> did.ConfirmationRequested:
    """Return the n-th confirmation, requested by an execution."""
    return did.ConfirmationRequested(
        confirmation_id=confirmation(n),
        execution_id=execution(by),
        gate="git_push",
        card=CARD,
        card_sha256=card_sha256(CARD),
        expires_at=DEADLINE,
        call_sha256=CALL.sha256,
    )


def waiting(**metadata: object) -> list[did.TaskEvent]:
    """Return a task that waits for its first confirmation."""
    return [*running(**metadata), asked()]


def lost(n: int = 1, *, begun: bool = True) -> did.ExecutionLost:
    """Return the loss of the n-th execution."""
    return did.ExecutionLost(execution_id=execution(n), epoch=n, runner_id=RUNNER, begun=begun)


def waiting_lost(**metadata: object) -> list[did.TaskEvent]:
    """Return a task that waits for a confirmation its runner did not live to see."""
    return [*waiting(**metadata), lost()]


def approved(n: int = 1) -> did.TaskConfirmed:
    """Return the approval of the n-th confirmation."""
    return did.TaskConfirmed(confirmation_id=confirmation(n), by=USER)


def parked(n: int = 1) -> did.TaskParked:
    """Return that the n-th execution was ended while its confirmation waits."""
    return did.TaskParked(execution_id=execution(n))


def waiting_parked(**metadata: object) -> list[did.TaskEvent]:
    """Return a task whose process was ended while it waits for its first confirmation."""
    return [*waiting(**metadata), parked()]


def resuming(**metadata: object) -> list[did.TaskEvent]:
    """Return a parked task whose confirmation was approved, and that waits for a runner."""
    return [*waiting_parked(**metadata), approved(), did.ResumeRequested(reason="approved")]


def paused(n: int = 1, *, after_sec: float = 60.0) -> did.TaskPaused:
    """Return that the n-th execution ended until the provider's quota is there again."""
    until = NOW + timedelta(seconds=after_sec)
    return did.TaskPaused(execution_id=execution(n), reason="quota", until=until)


def cancelling(**metadata: object) -> list[did.TaskEvent]:
    """Return a running task that is to be cancelled."""
    return [*running(**metadata), did.CancelRequested()]


def completed(n: int = 1) -> did.TaskCompleted:
    """Return the success of the n-th execution."""
    return did.TaskCompleted(
        execution_id=execution(n), exit_code=0, output_tail="done\n", duration_sec=1.5
    )


def failed(n: int = 1, *, will_retry: bool = False) -> did.TaskFailed:
    """Return the failure of the n-th execution."""
    return did.TaskFailed(
        execution_id=execution(n),
        error="exit code 2",
        kind=FailureKind.EXIT_CODE,
        from_status=Status.RUNNING,
        exit_code=2,
        output_tail="no\n",
        duration_sec=1.5,
        will_retry=will_retry,
    )


def cancelled() -> did.TaskCancelled:
    """Return the end of a running task on request."""
    return did.TaskCancelled(from_status=Status.RUNNING, execution_id=execution(1))


def retried(
    attempt: int,
    *,
    after_sec: float = 0.0,
    counted: bool = False,
    automatic: bool = False,
    from_status: Status = Status.FAILED,
    reason: str = "",
    at: datetime = NOW,
) -> did.TaskRetried:
    """Return the queueing of an attempt, some seconds after ``at``."""
    return did.TaskRetried(
        from_status=from_status,
        attempt=attempt,
        not_before=at + timedelta(seconds=after_sec),
        automatic=automatic,
        counted=counted,
        reason=reason,
    )


# --- what is asked ---------------------------------------------------------------------------


def create(
    *, scheduled_at: datetime | None = None, auto_start: bool | None = None, **metadata: object
) -> do.CreateTask:
    """Return the command that files the task of `created`."""
    return do.CreateTask(
        name="tidy up",
        command="make tidy",
        project_id=PROJECT_ID,
        metadata=metadata,
        scheduled_at=scheduled_at,
        auto_start=auto_start,
    )


def update(*, name: str | UnsetType = UNSET, metadata: Json | UnsetType = UNSET) -> do.UpdateTask:
    """Return the command that changes name or metadata."""
    return do.UpdateTask(name=name, metadata=metadata)


def dispatch(n: int = 1) -> Dispatch:
    """Return the start of the n-th execution as a runner's claim has it."""
    return Dispatch(execution_id=execution(n), runner_id=RUNNER)


def progress(percent: int = 50, *, by: int = 1) -> tell.ReportProgress:
    """Return a report of an execution."""
    return tell.ReportProgress(
        task_id=TASK_ID, execution_id=execution(by), epoch=by, progress=percent
    )


def ask(n: int = 1, *, by: int = 1) -> tell.AskConfirmation:
    """Return the request of `asked`."""
    return tell.AskConfirmation(
        task_id=TASK_ID,
        execution_id=execution(by),
        epoch=by,
        confirmation_id=confirmation(n),
        gate="git_push",
        card=CARD,
        expires_at=DEADLINE,
        call_sha256=CALL.sha256,
    )


def confirm(
    decision: do.Decision = do.Decision.APPROVE,
    *,
    of: int | None = None,
    sha256: str | None = None,
    reason: str = "",
) -> do.ConfirmTask:
    """Return a decision, on the confirmation it quotes if it quotes one."""
    quoted = None if of is None else confirmation(of)
    return do.ConfirmTask(
        decision=decision, confirmation_id=quoted, card_sha256=sha256, reason=reason
    )


def deny(*, of: int | None = None, reason: str = "") -> do.ConfirmTask:
    """Return a denial."""
    return confirm(do.Decision.DENY, of=of, reason=reason)


def finish(
    outcome: tell.Outcome, *, by: int = 1, kind: FailureKind = FailureKind.EXIT_CODE
) -> tell.FinishExecution:
    """Return the end of an execution: what `completed`, `failed` or `cancelled` record."""
    if outcome is tell.Outcome.COMPLETED:
        return _finish(by, outcome, exit_code=0, output_tail="done\n", duration_sec=1.5)
    if outcome in {tell.Outcome.CANCELLED, tell.Outcome.PARKED, tell.Outcome.PAUSED}:
        return _finish(by, outcome)
    if outcome is tell.Outcome.LOST:
        return _finish(by, outcome, error="its runner was stopped")
    return _finish(
        by,
        outcome,
        exit_code=2,
        error="exit code 2",
        kind=kind,
        output_tail="no\n",
        duration_sec=1.5,
    )


def _finish(
    by: int,
    outcome: tell.Outcome,
    *,
    exit_code: int | None = None,
    error: str = "",
    kind: FailureKind = FailureKind.EXIT_CODE,
    output_tail: str = "",
    duration_sec: float = 0.0,
) -> tell.FinishExecution:
    return tell.FinishExecution(
        task_id=TASK_ID,
        execution_id=execution(by),
        epoch=by,
        outcome=outcome,
        exit_code=exit_code,
        error=error,
        kind=kind,
        output_tail=output_tail,
        duration_sec=duration_sec,
    )


def record(
    verdict: Verdict = Verdict.ALLOW, *, by: int = 1, of: int | None = None, call: ToolCall = CALL
) -> tell.RecordCall:
    """Return what a runner does about a call, by the n-th confirmation if it says so."""
    return tell.RecordCall(
        task_id=TASK_ID,
        execution_id=execution(by),
        epoch=by,
        call=call,
        verdict=verdict,
        rule="rule",
        confirmation_id=None if of is None else confirmation(of),
    )


def withdraw(n: int = 1, *, by: int = 1) -> tell.WithdrawConfirmation:
    """Return that an execution went on without an answer."""
    return tell.WithdrawConfirmation(
        task_id=TASK_ID, execution_id=execution(by), epoch=by, confirmation_id=confirmation(n)
    )


def open_session(session_id: str = "s-1", *, by: int = 1, store: str = "") -> tell.OpenSession:
    """Return that the agent of an execution named its conversation."""
    return tell.OpenSession(
        task_id=TASK_ID,
        execution_id=execution(by),
        epoch=by,
        agent="demo",
        session_id=session_id,
        store=store,
    )


def checkpoint(n: int = 1, *, by: int = 1) -> tell.RecordCheckpoint:
    """Return that the n-th state of an execution's files was kept."""
    return tell.RecordCheckpoint(
        task_id=TASK_ID,
        execution_id=execution(by),
        epoch=by,
        ref=f"refs/pandar/checkpoints/{by}-{n}",
        commit="c" * 40,
        base="b" * 40,
        branch="pandar/42-tidy-up",
        files=2,
    )


def switch(to_agent: str = "claude", *, by: int = 1) -> tell.SwitchAgent:
    """Return that another agent is to take over from an execution."""
    return tell.SwitchAgent(
        task_id=TASK_ID, execution_id=execution(by), epoch=by, to_agent=to_agent
    )


def narrowed(*, by: int = 1) -> tell.ReportNarrowed:
    """Return that a repository narrowed what an execution may do."""
    return tell.ReportNarrowed(
        task_id=TASK_ID,
        execution_id=execution(by),
        epoch=by,
        changes=["policy auto → manual"],
        refused=["level is not known here"],
    )


def blocked(*, by: int = 1) -> tell.ReportBlocked:
    """Return that a program of an execution was kept from calling a host."""
    return tell.ReportBlocked(
        task_id=TASK_ID,
        execution_id=execution(by),
        epoch=by,
        host="example.org",
        port=443,
        reason="not on the list",
    )


def answer(*, by: int = 1) -> tell.AnswerQuestion:
    """Return that a question of an execution was answered."""
    return tell.AnswerQuestion(
        task_id=TASK_ID,
        execution_id=execution(by),
        epoch=by,
        question="which?",
        answer="this",
        by="proxy:claude",
    )


def link(n: int = 1, *, approver: str = "bob") -> do.IssueLink:
    """Return what makes a secret good for a confirmation."""
    return do.IssueLink(
        confirmation_id=confirmation(n), approver=approver, token_sha256=LINK_SHA256
    )


def lose(*, of: int = 1, begun: bool = True) -> do.LoseExecution:
    """Return what the reaper says of an execution; a recovery would be confirmation 9."""
    return do.LoseExecution(
        execution_id=execution(of),
        epoch=of,
        begun=begun,
        confirmation_id=confirmation(9),
        expires_at=DEADLINE,
    )


def expire(n: int = 1) -> do.ExpireConfirmation:
    """Return what the reaper says of a confirmation nobody decided."""
    return do.ExpireConfirmation(confirmation_id=confirmation(n))
