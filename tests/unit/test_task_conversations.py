"""What a task remembers of its agent: sessions, calls, approvals, parking, going on elsewhere."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from msgspec.structs import replace

from events import commands as do
from events import running as tell
from events import task as did
from events.calls import Allowance, Scope, Verdict
from events.commands import Decision
from events.running import Decided, Outcome, Resume
from events.task import FailureKind, Status, Usage
from pandar_daemon.domain.refusals import Rejected
from pandar_daemon.domain.resuming import allowances_of, look_up, resume_of
from pandar_daemon.domain.task_execution import Dispatch
from pandar_daemon.domain.task_rules import Stale
from tests.support import stories as s
from tests.support.agent_stories import (
    CONFIRMATION,
    HERE,
    THERE,
    decided,
    parked,
    resumed,
    task_of,
    used,
    waiting,
    working,
)
from tests.support.given import NOW, TASK_ID, given

VOID = f"confirmation {CONFIRMATION} does not approve this call, or no longer"
OTHER = replace(s.CALL, command="git push origin release")

# --- parking, deciding, going on, in every order ---------------------------------------------


def test_parked_while_it_waits() -> None:
    """The execution is over, the confirmation is not."""
    given(waiting()).when(s.finish(Outcome.PARKED)).then(
        [did.TaskParked(execution_id=s.execution(1), session_id="s-1", agent="demo")]
    )
    after = task_of(parked())
    assert (after.status, after.execution) == (Status.WAITING_CONFIRMATION, None)


@pytest.mark.parametrize("decision", Decision)
def test_decided_after_parking(decision: Decision) -> None:
    """A runner is to go on, whatever was decided: the agent hears of it."""
    said = s.confirm(decision, reason="no" if decision is not Decision.APPROVE else "")
    reason = {"approve": "approved", "deny": "denied", "changes": "changes were asked for"}
    given(parked()).when(said).then(
        [decided(decision), did.ResumeRequested(reason=reason[decision])]
    )


@pytest.mark.parametrize("decision", Decision)
def test_decided_just_before_parking(decision: Decision) -> None:
    """The runner had not heard of it: what it parked goes on at once."""
    requested = did.ResumeRequested(reason="decided while it was parked")
    given([*waiting(), decided(decision)]).when(s.finish(Outcome.PARKED)).then(
        [did.TaskParked(execution_id=s.execution(1), session_id="s-1", agent="demo"), requested]
    )


def test_parked_when_nobody_is_asked_any_more() -> None:
    """It was withdrawn, or never arrived: it goes on."""
    given(working()).when(s.finish(Outcome.PARKED)).then(
        [
            did.TaskParked(execution_id=s.execution(1), session_id="s-1", agent="demo"),
            did.ResumeRequested(reason="decided while it was parked"),
        ]
    )


@pytest.mark.parametrize("outcome", [Outcome.PARKED, Outcome.PAUSED])
def test_a_cancelled_task_neither_parks_nor_pauses(outcome: Outcome) -> None:
    """It ends."""
    told = given([*waiting(), did.CancelRequested(from_status=Status.WAITING_CONFIRMATION)])
    told.when(s.finish(outcome)).then([replace(s.cancelled(), agent="demo")])


def test_a_task_that_goes_on_is_started_for_it() -> None:
    """The new execution knows which one it continues."""
    story = [*parked(), decided(), did.ResumeRequested()]
    given(story).when(replace(s.dispatch(2), store=HERE)).then(
        [
            replace(s.started(2), agent="demo", store=HERE, resumes=s.execution(1)),
            did.TaskResumed(execution_id=s.execution(2), epoch=2, runner_id=s.RUNNER),
        ]
    )


def test_it_goes_on_only_where_its_files_are() -> None:
    """Another runner's data directory has neither workspace nor session."""
    story = [*parked(), decided(), did.ResumeRequested()]
    elsewhere = Dispatch(execution_id=s.execution(2), runner_id="r2", store=THERE)
    given(story).when(elsewhere).refuses(
        Rejected, f"cannot dispatch task {TASK_ID} while it is running", state="running"
    )


def test_it_waits_as_long_as_nobody_decides() -> None:
    """No runner gets it before."""
    given(parked()).when(replace(s.dispatch(2), store=HERE)).refuses(
        Rejected,
        f"cannot dispatch task {TASK_ID} while it is waiting_confirmation",
        state="waiting_confirmation",
    )


def test_a_parked_task_is_cancelled_at_once() -> None:
    """No process is left to end; nor is one when it waits for a runner."""
    waits = did.TaskCancelled(from_status=Status.WAITING_CONFIRMATION)
    given(parked()).when(do.CancelTask()).then([waits])
    runs = did.TaskCancelled(from_status=Status.RUNNING)
    given([*parked(), decided(), did.ResumeRequested()]).when(do.CancelTask()).then([runs])


def test_a_denial_may_end_the_task() -> None:
    """Where its owner said so, no process is started to hear it."""
    given(parked(on_deny="cancel")).when(s.deny(reason="no")).then(
        [decided(Decision.DENY), did.TaskCancelled(from_status=Status.RUNNING, reason="no")]
    )


# --- lost ------------------------------------------------------------------------------------


def test_lost_while_it_waits() -> None:
    """The confirmation outlives the runner, and its decision lets the session go on."""
    lost = [*waiting(), s.lost()]
    given(waiting()).when(s.lose()).then([replace(s.lost(), agent="demo")])
    given(lost).when(s.confirm()).then([decided(), did.ResumeRequested(reason="approved")])
    denied = did.ResumeRequested(reason="denied")
    given(lost).when(s.deny(reason="no")).then([decided(Decision.DENY), denied])


@pytest.mark.parametrize("decision", Decision)
def test_lost_before_it_heard_the_decision(decision: Decision) -> None:
    """The next process hears it."""
    story = [*waiting(), decided(decision)]
    reason = "its runner was lost before it heard the decision"
    given(story).when(s.lose()).then(
        [replace(s.lost(), agent="demo"), did.ResumeRequested(reason=reason)]
    )


@pytest.mark.parametrize("heard", ["used", "refused", "answered"])
def test_lost_after_it_heard_the_decision(heard: str) -> None:
    """Then it is lost like any other: what it did with it nobody knows."""
    events: dict[str, did.TaskEvent] = {
        "used": used(),
        "refused": used(verdict=Verdict.DENY),
        "answered": did.QuestionAnswered(
            execution_id=s.execution(1), question="?", answer="!", by="ann"
        ),
    }
    story = [*waiting(on_lost="fail"), decided(), events[heard]]
    said = given(story).when(s.lose())
    assert [type(event) for event in said.happened] == [did.ExecutionLost, did.TaskFailed]


def test_lost_again_before_it_heard_the_decision() -> None:
    """As often as it takes."""
    reason = "its runner was lost before it heard the decision"
    given(resumed()).when(s.lose(of=2)).then(
        [replace(s.lost(2), agent="demo"), did.ResumeRequested(reason=reason)]
    )


def test_lost_on_its_way_to_a_cancellation() -> None:
    """Whatever was decided."""
    story = [*waiting(), decided(), did.CancelRequested()]
    said = given(story).when(s.lose())
    assert [type(event) for event in said.happened] == [did.ExecutionLost, did.TaskCancelled]


def test_whether_a_lost_task_runs_again_is_no_decision_of_its_agent() -> None:
    """It is not told of it, and another loss is asked about again."""
    recovery = replace(s.asked(), gate="lost_runner", call_sha256="")
    again = s.retried(2, from_status=Status.RUNNING)
    story = [*working(on_lost="confirm"), s.lost(), recovery, decided(), again]
    started = [*story, replace(s.started(2), agent="demo", store=HERE)]
    assert resume_of(task_of(started)) == Resume(session_id="s-1")
    said = given(started).when(s.lose(of=2))
    assert [type(event) for event in said.happened] == [
        did.ExecutionLost,
        did.ConfirmationRequested,
    ]


# --- what a new process is told --------------------------------------------------------------


def test_what_it_goes_on_with() -> None:
    """Its session, what was decided, on what, and how it ended."""
    told = Decided(decision=Decision.APPROVE, by="ann")
    assert resume_of(task_of(resumed())) == Resume(
        session_id="s-1",
        confirmation_id=CONFIRMATION,
        gate="git_push",
        call_sha256=s.CALL.sha256,
        decided=told,
        summary="the end",
    )


@pytest.mark.parametrize(
    ("card", "what"),
    [
        ({"command": "git push"}, "git push"),
        ({"title": "Edit a"}, "Edit a"),
        ({"question": "which?"}, "which?"),
        ({"command": ["no", "text"]}, ""),
        ({}, ""),
    ],
)
def test_what_was_decided_is_put_into_words(card: did.Json, what: str) -> None:
    """Those of the card."""
    story = [*working(), replace(s.asked(), card=card), s.parked(), decided()]
    told = resume_of(task_of([*story, did.ResumeRequested()]))
    assert told is not None
    assert told.what == what


def test_a_session_is_gone_on_with_where_it_is() -> None:
    """Another data directory, or another agent, knows nothing of it."""
    elsewhere = [*parked(), decided(), replace(s.started(2), agent="demo", store=THERE)]
    told = resume_of(task_of(elsewhere))
    assert told is not None
    assert (told.session_id, told.summary) == ("", "the end")
    switched = did.AgentSwitched(execution_id=s.execution(1), from_agent="demo", to_agent="claude")
    other = resume_of(task_of([*working(), switched, s.lost()]))
    assert other is None


def test_what_was_heard_is_not_told_again() -> None:
    """The next process only hears that it was interrupted."""
    told = resume_of(task_of([*resumed(), used(by=2), s.lost(2)]))
    assert told == Resume(session_id="s-1", summary="the end")


def test_a_fresh_task_goes_on_with_nothing() -> None:
    """Nor does a command, whatever happened."""
    assert resume_of(task_of(working()[:3])) is None
    assert resume_of(task_of([*s.waiting(), s.approved()])) is None


def test_a_retry_begins_anew() -> None:
    """After a failure, with what the one before said last."""
    ended = replace(s.failed(), output_tail="no luck")
    told = resume_of(task_of([*working(), ended, s.retried(2)]))
    assert told == Resume(summary="no luck")


# --- what was allowed ------------------------------------------------------------------------


def test_a_recorded_call_uses_its_approval_up() -> None:
    """Once: the log says so before the agent hears of it."""
    story = [*waiting(), decided()]
    given(story).when(s.record(of=1)).then([used()])
    given([*story, used()]).when(s.record(of=1)).refuses(Rejected, VOID, state="running")


@pytest.mark.parametrize(
    "story",
    [
        waiting(),
        [*waiting(), decided(Decision.DENY)],
        [*waiting(), decided(), did.CancelRequested()],
        [*waiting(), decided(), s.asked(2)],
        [*waiting(), did.ConfirmationExpired(confirmation_id=CONFIRMATION)],
    ],
)
def test_what_nobody_approved_is_not_done(story: list[did.TaskEvent]) -> None:
    """Undecided, denied, cancelled since, or something else was asked since."""
    state = str(task_of(story).status)
    given(story).when(s.record(of=1)).refuses(Rejected, VOID, state=state)


def test_an_approval_is_for_its_call() -> None:
    """Another one under its name is refused; by a rule it is none of its business."""
    story = [*waiting(), decided()]
    given(story).when(s.record(of=1, call=OTHER)).refuses(Rejected, VOID, state="running")
    given(story).when(s.record(of=2)).refuses(Rejected, state="running")
    after, _ = given(story).after(s.record(call=OTHER))
    assert after.task.answered is not None


def test_an_approval_is_for_the_call_as_it_was() -> None:
    """The hash says which one; of the call itself secrets may have been taken out on the way."""
    story, seen = [*waiting(), decided()], replace(s.CALL, command="[REDACTED:x]")
    record = replace(s.record(of=1, call=seen), call_sha256=s.CALL.sha256)
    given(story).when(record).then([replace(used(), call=seen, call_sha256=s.CALL.sha256)])
    wrong = replace(s.record(of=1), call_sha256=OTHER.sha256)
    given(story).when(wrong).refuses(Rejected, VOID, state="running")


def test_a_refusal_is_always_recorded() -> None:
    """Whatever it refers to."""
    for story in (waiting(), [*waiting(), decided(Decision.DENY)], [*waiting(), decided()]):
        said = given(story).when(s.record(Verdict.DENY, of=1))
        assert [type(event) for event in said.happened] == [did.CallDecided]


def test_the_next_process_uses_it_up_too() -> None:
    """Under its own execution; the one before may not any more."""
    given(resumed()).when(s.record(by=2, of=1)).then([used(by=2)])
    given(resumed()).when(s.record(by=1, of=1)).refuses(
        Stale, f"execution {s.execution(1)} (epoch 1) of task {TASK_ID} is over", state="running"
    )


@pytest.mark.parametrize(
    ("scope", "pattern", "here", "later"),
    [
        (Scope.CALL, "", False, False),
        (Scope.EXECUTION, "", True, False),
        (Scope.PATTERN, "git push *", True, True),
        (Scope.PROJECT, "git push *", False, False),
    ],
)
def test_how_far_an_approval_goes(scope: Scope, pattern: str, here: bool, later: bool) -> None:
    """Once it was used: for what goes on from there, or for every attempt of the task.

    What reaches beyond the task is a grant of the project, and looked up there.
    """
    approved = replace(s.approved(), scope=scope, pattern=pattern)
    allowance = Allowance(gates=["git_push"], pattern=pattern, confirmation_id=str(CONFIRMATION))
    story = [*resumed(approved), used(by=2)]
    assert allowances_of(task_of(story)) == ([allowance] if here else [])
    again = [*story, s.asked(2, by=2), s.parked(2), s.approved(2), did.ResumeRequested()]
    on = replace(s.started(3), resumes=s.execution(2))
    assert allowances_of(task_of([*again, on])) == ([allowance] if here else [])
    fresh = [*story, s.failed(2), s.retried(3), s.started(3)]
    assert allowances_of(task_of(fresh)) == ([allowance] if later else [])


def test_an_approval_that_was_refused_at_last_allows_nothing() -> None:
    """Configuration has the last word."""
    approved = replace(s.approved(), scope=Scope.EXECUTION)
    assert allowances_of(task_of([*resumed(approved), used(by=2, verdict=Verdict.DENY)])) == []


def test_the_gates_of_an_approval_are_those_of_the_card() -> None:
    """All that stopped the call."""
    asked = replace(s.asked(), card={"gates": ["git_push", "network_egress"]})
    approved = replace(s.approved(), scope=Scope.EXECUTION)
    (allowance,) = allowances_of(task_of([*working(), asked, approved, used()]))
    assert allowance.gates == ["git_push", "network_egress"]


# --- withdrawn, named, switched, paused ------------------------------------------------------


def test_what_nobody_waits_for_is_withdrawn() -> None:
    """The task goes on; a decision comes too late."""
    withdrawn = did.ConfirmationWithdrawn(confirmation_id=CONFIRMATION)
    given(waiting()).when(s.withdraw()).then([withdrawn])
    given([*waiting(), withdrawn]).when(s.confirm(of=1)).refuses(
        Rejected, f"cannot confirm task {TASK_ID} while it is running", state="running"
    )
    given([*waiting(), withdrawn]).when(s.ask(2)).then([s.asked(2)])


def test_what_was_decided_is_not_withdrawn() -> None:
    """Nor is what was never asked, nor what asks next."""
    for story in ([*waiting(), decided()], working(), [*waiting(), decided(), s.asked(2)]):
        given(story).when(s.withdraw()).then_nothing()


def test_a_session_is_named_once() -> None:
    """A new name replaces it."""
    known = s.open_session("s-1", store=HERE)
    given(working()).when(known).then_nothing()
    given(working()).when(s.open_session("s-2", store=HERE)).then(
        [did.SessionOpened(execution_id=s.execution(1), agent="demo", session_id="s-2", store=HERE)]
    )


def test_another_agent_takes_over() -> None:
    """After a failure, at once, though there are no retries; it begins anew, with a summary."""
    switched = did.AgentSwitched(execution_id=s.execution(1), from_agent="demo", to_agent="claude")
    given(working()).when(s.switch()).then([switched])
    failed, retried = given([*working(), switched]).when(s.finish(Outcome.FAILED)).happened
    assert isinstance(failed, did.TaskFailed)
    assert isinstance(retried, did.TaskRetried)
    assert (failed.will_retry, failed.agent) == (True, "demo")
    assert (retried.reason, retried.not_before, retried.counted) == (
        "claude takes over",
        NOW,
        False,
    )
    after = task_of([*working(), switched, failed, retried])
    assert resume_of(after) == Resume(summary="no\n")
    (started,) = given([*working(), switched, failed, retried]).when(s.dispatch(2)).happened
    assert isinstance(started, did.TaskStarted)
    assert started.agent == "claude"


def test_another_agent_takes_over_once() -> None:
    """Its own failure is one."""
    switched = did.AgentSwitched(execution_id=s.execution(1), from_agent="demo", to_agent="claude")
    given([*working(), switched]).when(s.switch()).then_nothing()
    story = [*working(), switched, s.failed(will_retry=True), s.retried(2), s.started(2)]
    (failed,) = given(story).when(s.finish(Outcome.FAILED, by=2)).happened
    assert isinstance(failed, did.TaskFailed)
    assert not failed.will_retry


def test_nobody_takes_over_what_was_refused() -> None:
    """Asking again would overrule who said no."""
    (failed,) = (
        given(working(max_retries=3))
        .when(s.finish(Outcome.FAILED, kind=FailureKind.DENIED))
        .happened
    )
    assert isinstance(failed, did.TaskFailed)
    assert not failed.will_retry


def test_a_quota_that_is_used_up_is_a_pause() -> None:
    """Until the provider says; it goes on in its session, or is cancelled at once."""
    until = NOW + timedelta(minutes=5)
    finish = replace(s.finish(Outcome.PAUSED), until=until, error="used up")
    (paused,) = given(working()).when(finish).happened
    assert paused == did.TaskPaused(
        execution_id=s.execution(1), reason="quota", until=until, detail="used up", agent="demo"
    )
    story = [*working(), paused]
    assert task_of(story).status is Status.PENDING
    given(story).when(s.dispatch(2), at=until - timedelta(seconds=1)).refuses(
        Rejected, f"cannot dispatch task {TASK_ID} while it is pending", state="pending"
    )
    (started,) = given(story).when(s.dispatch(2), at=until).happened
    assert isinstance(started, did.TaskStarted)
    again = [*story, replace(started, store=HERE)]
    assert resume_of(task_of(again)) == Resume(session_id="s-1")
    cancelled = did.TaskCancelled(from_status=Status.PENDING)
    given(story).when(do.CancelTask()).then([cancelled])


def test_a_pause_without_an_end_has_one() -> None:
    """It does not wait for ever."""
    (paused,) = given(working()).when(s.finish(Outcome.PAUSED)).happened
    assert isinstance(paused, did.TaskPaused)
    assert NOW < paused.until < NOW + timedelta(days=1)


def test_a_quota_that_is_never_there_is_asked_for_less_and_less() -> None:
    """Whatever the provider says; until somebody asks for another attempt."""
    story, seconds = working(), list[float]()
    for n in range(1, 5):
        finish = replace(s.finish(Outcome.PAUSED, by=n), until=NOW - timedelta(days=1))
        (paused,) = given(story).when(finish).happened
        assert isinstance(paused, did.TaskPaused)
        seconds.append((paused.until - NOW).total_seconds())
        story += [paused, s.started(n + 1)]
    assert seconds == [0, 10, 20, 40]
    again = [*story, s.failed(5), s.retried(6), s.started(6)]
    (paused,) = given(again).when(replace(s.finish(Outcome.PAUSED, by=6), until=NOW)).happened
    assert isinstance(paused, did.TaskPaused)
    assert paused.until == NOW


def test_what_all_executions_consumed_is_kept() -> None:
    """Parked, paused and failed ones too."""
    usage = Usage(input_tokens=10, cost_usd=0.5)
    story = [*waiting(), replace(s.parked(), usage=usage), decided(), did.ResumeRequested()]
    story += [replace(s.started(2), resumes=s.execution(1)), replace(s.paused(2), usage=usage)]
    story += [s.started(3), replace(s.failed(3), usage=usage)]
    spent = task_of(story).spent
    assert (spent.input_tokens, spent.cost_usd) == (30, 1.5)


# --- what a runner may look up ---------------------------------------------------------------


def test_a_runner_sees_what_was_decided() -> None:
    """And nothing before."""
    look = tell.LookUpDecision(
        task_id=TASK_ID, execution_id=s.execution(1), epoch=1, confirmation_id=CONFIRMATION
    )
    assert look_up(task_of(waiting()), look) == Decided()
    approved = replace(s.approved(), scope=Scope.PATTERN, pattern="x", reason="ok")
    assert look_up(task_of([*waiting(), approved]), look) == Decided(
        decision=Decision.APPROVE, reason="ok", by="ann", scope=Scope.PATTERN, pattern="x"
    )
    unknown = replace(look, confirmation_id=UUID(int=7))
    assert look_up(task_of([*waiting(), approved]), unknown) == Decided()
