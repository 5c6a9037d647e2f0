"""What a new process is told of the ones before it, so that it goes on and does not begin anew."""

from __future__ import annotations

from events import running as tell
from events.calls import Allowance
from events.running import Decided, Resume
from pandar_daemon.domain.task_confirmation import settled
from pandar_daemon.domain.task_rules import Stale
from pandar_daemon.domain.task_state import Settled, Task


def resume_of(task: Task) -> Resume | None:
    """Return what the execution that was started just now goes on with, ``None`` for a fresh run.

    An agent's session is in one runner's data directory; elsewhere there is only the summary.
    """
    talk, answer = task.conversation, task.answered
    if not task.prompt or (talk is None and answer is None and not task.tail):
        return None
    here = talk is not None and talk.store in {"", task.store} and talk.agent == task.agent
    session = talk.session_id if talk is not None and here else ""
    if answer is None:
        return Resume(session_id=session, summary=task.tail)
    return Resume(
        session_id=session,
        confirmation_id=answer.confirmation_id,
        gate=answer.gate,
        what=answer.what,
        call_sha256=answer.call_sha256,
        decided=decided(answer),
        summary=task.tail,
    )


def allowances_of(task: Task) -> list[Allowance]:
    """Return what was allowed beforehand to the live execution."""
    return [allowance for _, allowance in task.allowances]


def decided(answer: Settled) -> Decided:
    """Return a decision as a runner is told it."""
    return Decided(
        decision=answer.decision,
        reason=answer.reason,
        by=answer.by,
        scope=answer.scope,
        pattern=answer.pattern,
        expired=answer.expired,
    )


def require_live(task: Task, asked: tell.OfExecution) -> None:
    """Return when the execution that asks is live; raises `Stale`."""
    live = task.execution
    if live is None or (live.execution_id, live.epoch) != (asked.execution_id, asked.epoch):
        msg = f"execution {asked.execution_id} (epoch {asked.epoch}) is over"
        raise Stale(msg, state=str(task.status))


def look_up(task: Task, asked: tell.LookUpDecision) -> Decided:
    """Return what was decided on a confirmation, perhaps nothing yet."""
    answer = settled(task, asked.confirmation_id)
    return Decided() if answer is None else decided(answer)
