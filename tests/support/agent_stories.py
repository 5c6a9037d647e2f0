"""Lives of a task an agent works on, beside those of `stories`."""

from __future__ import annotations

from msgspec.structs import replace

from events import task as did
from events.calls import Verdict
from events.commands import Decision
from pandar_daemon.domain.task_state import Task
from tests.support import stories as s
from tests.support.given import given

HERE, THERE = "data-1", "data-2"
CONFIRMATION = s.confirmation(1)


def working(**metadata: object) -> list[did.TaskEvent]:
    """Return a task an agent works on, in a session that can be gone on with."""
    filed = replace(s.created(agent="demo", **metadata), command="", prompt="tidy up")
    opened = did.SessionOpened(
        execution_id=s.execution(1), agent="demo", session_id="s-1", store=HERE
    )
    started = replace(s.started(), agent="demo", store=HERE)
    return [filed, did.StartRequested(), started, opened]


def waiting(**metadata: object) -> list[did.TaskEvent]:
    """Return a task whose agent waits for people."""
    return [*working(**metadata), s.asked()]


def parked(**metadata: object) -> list[did.TaskEvent]:
    """Return a task whose agent was ended while people decide."""
    return [*waiting(**metadata), replace(s.parked(), session_id="s-1", output_tail="the end")]


def decided(decision: Decision = Decision.APPROVE) -> did.TaskEvent:
    """Return what Ann said."""
    match decision:
        case Decision.APPROVE:
            return s.approved()
        case Decision.DENY:
            return did.TaskDenied(confirmation_id=CONFIRMATION, reason="no", by="ann")
        case Decision.CHANGES:
            return did.ChangesRequested(confirmation_id=CONFIRMATION, reason="no", by="ann")


def resumed(*said: did.TaskEvent, **metadata: object) -> list[did.TaskEvent]:
    """Return a parked task that goes on in a second execution after this was decided."""
    return [
        *parked(**metadata),
        *(said or [decided()]),
        did.ResumeRequested(reason="approved"),
        replace(s.started(2), agent="demo", store=HERE, resumes=s.execution(1)),
        did.TaskResumed(execution_id=s.execution(2), epoch=2, runner_id=s.RUNNER),
    ]


def task_of(events: list[did.TaskEvent]) -> Task:
    """Return what these events make of a task."""
    return given(events).task


def used(*, by: int = 1, verdict: Verdict = Verdict.ALLOW) -> did.CallDecided:
    """Return that the first approval was used, or at last not."""
    return did.CallDecided(
        execution_id=s.execution(by),
        call=s.CALL,
        call_sha256=s.CALL.sha256,
        verdict=verdict,
        rule="rule",
        confirmation_id=CONFIRMATION,
    )
