"""The rules of a run that is a conversation: waiting for people, and what came of it."""

from __future__ import annotations

import pytest

from events.running import Outcome
from events.task import FailureKind, Usage
from pandar_daemon.domain.session import Phase
from pandar_daemon.domain.signals import (
    Abandoned,
    AnySignal,
    CancelRequested,
    Concluded,
    Discard,
    Exited,
    Kill,
    LeaseLost,
    Reason,
    Tick,
    Waiting,
)
from pandar_daemon.domain.talking import Conclude
from tests.support.talks import LATER
from tests.unit.test_session import HELD, KILLED, STARTED, after, effects_of, report_of

DONE = Conclude(outcome=Outcome.COMPLETED, usage=Usage(input_tokens=7, cost_usd=0.5))
FAILED = Conclude(outcome=Outcome.FAILED, kind=FailureKind.MODEL, error="529")
PARKED = Conclude(outcome=Outcome.PARKED)


def concluded(conclusion: Conclude) -> Concluded:
    """Return that a conversation is over."""
    return Concluded(at=4.0, conclusion=conclusion)


def waiting(at: float, *, asked: bool = True) -> Waiting:
    """Return that people are asked from now on, or no longer."""
    return Waiting(at=at, asked=asked)


# --- waiting ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signals", "over"),
    [
        ((Tick(at=11.0),), True),
        ((Tick(at=10.9),), False),
        ((waiting(2.0), Tick(at=1_000.0)), False),
        ((waiting(2.0), waiting(100.0, asked=False), Tick(at=108.9)), False),
        ((waiting(2.0), waiting(100.0, asked=False), Tick(at=109.0)), True),
        ((waiting(2.0), waiting(3.0), waiting(100.0, asked=False), Tick(at=108.9)), False),
        (
            (
                waiting(2.0),
                waiting(5.0, asked=False),
                waiting(6.0),
                waiting(9.0, asked=False),
                Tick(at=17.0),
            ),
            True,
        ),
        ((waiting(5.0, asked=False), Tick(at=10.9)), False),
    ],
)
def test_time_people_take_does_not_count(signals: tuple[AnySignal, ...], over: bool) -> None:
    """A timeout is of the time the agent works, however often people are asked."""
    effects = effects_of(HELD, STARTED, *signals, timeout_sec=10.0)
    assert effects == ([Kill(Reason.TIMEOUT)] if over else [])


def test_how_long_it_took_is_all_of_it() -> None:
    """Waiting is a part of its life."""
    report = report_of(
        HELD, STARTED, waiting(2.0), waiting(4.0, asked=False), Exited(at=5.0, exit_code=0)
    )
    assert report.duration_sec == 4.0


# --- what came of it -------------------------------------------------------------------------


def test_a_conversation_that_is_over_ends_its_process() -> None:
    """In order, and only once."""
    session, effects = after(HELD, STARTED, concluded(DONE))
    assert effects == [Kill(Reason.CONCLUDED)]
    assert session.phase is Phase.ENDING
    assert session.receive(concluded(FAILED)) == []


@pytest.mark.parametrize("conclusion", [DONE, FAILED, PARKED])
def test_what_came_of_it_is_reported(conclusion: Conclude) -> None:
    """Whatever the process said when it was killed."""
    report = report_of(HELD, STARTED, concluded(conclusion), KILLED)
    assert (report.outcome, report.kind, report.error) == (
        conclusion.outcome,
        conclusion.kind,
        conclusion.error,
    )


def test_what_the_agent_told_and_the_process_took_is_one_usage() -> None:
    """Tokens and money from one, processor and memory from the other."""
    end = Exited(at=5.0, exit_code=None, signal=15, usage=Usage(cpu_sec=2.0, max_rss_bytes=100))
    report = report_of(HELD, STARTED, concluded(DONE), end)
    assert report.usage == Usage(input_tokens=7, cost_usd=0.5, cpu_sec=2.0, max_rss_bytes=100)


def test_a_pause_says_until_when() -> None:
    """Nothing else does."""
    pause = Conclude(outcome=Outcome.PAUSED, kind=FailureKind.QUOTA, until=LATER)
    assert report_of(HELD, STARTED, concluded(pause), KILLED).until == LATER
    assert report_of(HELD, STARTED, concluded(DONE), KILLED).until is None


@pytest.mark.parametrize(
    ("signal", "outcome"),
    [
        (CancelRequested(at=3.0), Outcome.CANCELLED),
        (Abandoned(at=3.0), Outcome.LOST),
    ],
)
def test_who_is_ended_before_is_not_judged_by_its_last_words(
    signal: AnySignal, outcome: Outcome
) -> None:
    """Though they are heard: an agent that is told to stop says how its turn ended."""
    report = report_of(HELD, STARTED, signal, concluded(FAILED), KILLED)
    assert report.outcome is outcome


def test_what_was_spent_counts_however_it_ended() -> None:
    """Also when it was cancelled."""
    spent = Conclude(outcome=Outcome.FAILED, usage=Usage(cost_usd=0.5))
    report = report_of(HELD, STARTED, CancelRequested(at=3.0), concluded(spent), KILLED)
    assert (report.outcome, report.usage.cost_usd) == (Outcome.CANCELLED, 0.5)


def test_who_has_lost_its_lease_reports_nothing() -> None:
    """Not even a success."""
    assert effects_of(HELD, STARTED, concluded(DONE), LeaseLost(at=4.5), KILLED) == [
        Discard(Reason.LOST)
    ]


def test_a_cancellation_comes_too_late_for_what_is_done() -> None:
    """The first reason to end a run is the one reported; the log knows better what it means."""
    report = report_of(HELD, STARTED, concluded(PARKED), CancelRequested(at=4.5), KILLED)
    assert report.outcome is Outcome.PARKED
