"""The rules of a run, by example: signals in, effects out."""

from __future__ import annotations

from uuid import UUID

import pytest

from events.running import FinishExecution, Outcome
from events.task import Cut, FailureKind, Usage
from pandar_daemon.domain.session import Phase, Session
from pandar_daemon.domain.signals import (
    Abandoned,
    Allow,
    AnySignal,
    CancelRequested,
    Discard,
    Effect,
    Exited,
    Finish,
    Kill,
    LeaseHeld,
    LeaseLost,
    Output,
    OutputUnkept,
    Overfull,
    Reason,
    Start,
    Started,
    StartFailed,
    Tell,
    Tick,
)

EXECUTION = UUID("019a0000-0000-7000-8000-000000000001")
HELD = LeaseHeld(at=0.0, until=6.0)
STARTED = Started(at=1.0)
ENDED_WELL = Exited(at=5.0, exit_code=0)
KILLED = Exited(at=5.0, exit_code=None, signal=15)


def after(*signals: AnySignal, timeout_sec: float | None = None) -> tuple[Session, list[Effect]]:
    """Return a session that heard these, and the effects of the last."""
    session = Session(task_id=7, execution_id=EXECUTION, epoch=3, timeout_sec=timeout_sec)
    effects: list[Effect] = []
    for signal in signals:
        effects = session.receive(signal)
    return session, effects


def effects_of(*signals: AnySignal, timeout_sec: float | None = None) -> list[Effect]:
    """Return the effects of the last of these signals."""
    return after(*signals, timeout_sec=timeout_sec)[1]


def report_of(*signals: AnySignal, timeout_sec: float | None = None) -> FinishExecution:
    """Return what is reported at the last of these signals."""
    (effect,) = effects_of(*signals, timeout_sec=timeout_sec)
    assert isinstance(effect, Finish)
    return effect.report


def osc(percent: int) -> bytes:
    """Return what a program writes to tell its progress."""
    return b"\x1b]9;4;1;%d\x07" % percent


def test_starts_with_the_first_renewal() -> None:
    """A renewed lease starts the process, with leave until the renewal's deadline."""
    assert effects_of(HELD) == [Start(6.0)]


def test_nothing_starts_without_a_renewal() -> None:
    """Time alone starts nothing."""
    assert effects_of(Tick(at=100.0)) == []


def test_starts_once() -> None:
    """A second renewal, while the process is being made, starts nothing."""
    assert effects_of(HELD, LeaseHeld(at=2.0, until=8.0)) == []


def test_leave_given_while_starting_is_passed_on() -> None:
    """A renewal that came while the process was made counts as soon as there is one."""
    assert effects_of(HELD, LeaseHeld(at=2.0, until=8.0), STARTED) == [Allow(8.0)]


def test_renewal_gives_leave() -> None:
    """Every renewal lets the tree run on."""
    assert effects_of(HELD, STARTED, LeaseHeld(at=2.0, until=8.0)) == [Allow(8.0)]


def test_an_older_renewal_takes_no_leave_back() -> None:
    """Answers that overtake one another never shorten what was allowed."""
    late = LeaseHeld(at=2.5, until=7.0)
    assert effects_of(HELD, STARTED, LeaseHeld(at=2.0, until=8.0), late) == []


def test_nothing_is_allowed_twice() -> None:
    """What it was started with it need not be told."""
    assert effects_of(HELD, STARTED) == []
    assert effects_of(HELD, STARTED, HELD) == []


def test_completes() -> None:
    """Exit code 0 is success; the report says all about it."""
    cut = Cut(start=10, end=20)
    usage = Usage(cpu_sec=0.5, max_rss_bytes=100)
    end = Exited(at=5.0, exit_code=0, usage=usage, cut=cut)
    assert report_of(HELD, STARTED, Output(at=2.0, data=b"hi\x1b[0m\n"), end) == FinishExecution(
        task_id=7,
        execution_id=EXECUTION,
        epoch=3,
        outcome=Outcome.COMPLETED,
        exit_code=0,
        output_tail="hi\n",
        output_bytes=7,
        cut=cut,
        duration_sec=4.0,
        usage=usage,
    )


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (Exited(at=5.0, exit_code=3), "the command ended with exit code 3"),
        (Exited(at=5.0, exit_code=137, signal=9), "the command was killed by SIGKILL"),
        (Exited(at=5.0, exit_code=163, signal=35), "the command was killed by signal 35"),
        (Exited(at=5.0, exit_code=None, signal=9), "the command was killed by SIGKILL"),
    ],
)
def test_fails(end: Exited, error: str) -> None:
    """Anything but exit code 0 is a failure that says how it ended."""
    report = report_of(HELD, STARTED, end)
    assert (report.outcome, report.kind, report.error, report.exit_code) == (
        Outcome.FAILED,
        FailureKind.EXIT_CODE,
        error,
        end.exit_code,
    )


def test_cannot_start() -> None:
    """A process that could not be made is a failure of its own kind, without a duration."""
    report = report_of(HELD, StartFailed(at=1.0, error="no such file: 'x'"))
    assert (report.outcome, report.kind, report.duration_sec) == (
        Outcome.FAILED,
        FailureKind.START,
        0.0,
    )
    assert report.error == "could not be started: no such file: 'x'"


def test_an_endless_error_is_cut_to_what_the_command_takes() -> None:
    """Whatever the error says, the report can be sent."""
    report = report_of(HELD, StartFailed(at=1.0, error="x" * 5000))
    assert len(report.error) == 2000


def test_timeout_kills() -> None:
    """A process that runs as long as its timeout is killed, with grace."""
    assert effects_of(HELD, STARTED, Tick(at=10.9), timeout_sec=10) == []
    assert effects_of(HELD, STARTED, Tick(at=11.0), timeout_sec=10) == [Kill(Reason.TIMEOUT)]


def test_timeout_is_reported_once_dead() -> None:
    """The report comes with the death, and names the limit."""
    report = report_of(HELD, STARTED, Tick(at=11.0), KILLED, timeout_sec=10)
    assert (report.outcome, report.kind) == (Outcome.FAILED, FailureKind.TIMEOUT)
    assert report.error == "ran longer than its timeout of 10 s"


def test_timeout_kills_once() -> None:
    """Further ticks while it dies ask for nothing."""
    assert effects_of(HELD, STARTED, Tick(at=11.0), Tick(at=12.0), timeout_sec=10) == []


def test_time_before_the_start_does_not_count() -> None:
    """The timeout counts from the start of the process."""
    assert effects_of(HELD, Tick(at=100.0), Started(at=100.0), Tick(at=101.0), timeout_sec=10) == []


def test_cancel_kills_then_reports() -> None:
    """A cancelled run is killed, and reported as cancelled when it is dead."""
    asked = (HELD, STARTED, CancelRequested(at=2.0))
    assert effects_of(*asked) == [Kill(Reason.CANCELLED)]
    report = report_of(*asked, KILLED)
    assert (report.outcome, report.exit_code, report.error) == (Outcome.CANCELLED, None, "")


def test_cancel_before_the_start_reports_at_once() -> None:
    """A run that never began needs no killing."""
    report = report_of(CancelRequested(at=0.0))
    assert (report.outcome, report.duration_sec) == (Outcome.CANCELLED, 0.0)


def test_nothing_starts_after_a_cancel() -> None:
    """The renewal that told of the cancellation starts nothing."""
    assert effects_of(CancelRequested(at=0.0), HELD) == []


def test_cancel_while_starting_kills_as_soon_as_it_runs() -> None:
    """What is being made is killed once it is there."""
    assert effects_of(HELD, CancelRequested(at=0.5)) == []
    assert effects_of(HELD, CancelRequested(at=0.5), STARTED) == [Kill(Reason.CANCELLED)]


def test_cancel_while_starting_fails() -> None:
    """A cancelled run that could not be started is cancelled all the same."""
    report = report_of(HELD, CancelRequested(at=0.5), StartFailed(at=1.0, error="x"))
    assert report.outcome is Outcome.CANCELLED


def test_a_repeated_cancel_is_silent() -> None:
    """Each renewal repeats it; it kills once."""
    assert effects_of(HELD, STARTED, CancelRequested(at=2.0), CancelRequested(at=4.0)) == []


def test_a_dying_process_keeps_its_leave() -> None:
    """What is dying with grace may use it: renewals still count."""
    asked = (HELD, STARTED, CancelRequested(at=2.0))
    assert effects_of(*asked, LeaseHeld(at=2.0, until=8.0)) == [Allow(8.0)]


def test_the_first_reason_is_reported() -> None:
    """A cancel that comes while a timeout kills does not change the verdict."""
    asked = (HELD, STARTED, Tick(at=11.0), CancelRequested(at=11.5))
    assert effects_of(*asked, timeout_sec=10) == []
    assert report_of(*asked, KILLED, timeout_sec=10).kind is FailureKind.TIMEOUT


def test_who_lost_the_lease_is_silent() -> None:
    """A lost lease kills at once, and nothing is reported."""
    lost = LeaseLost(at=2.0)
    assert effects_of(HELD, STARTED, lost) == [Kill(Reason.LOST, at_once=True)]
    assert effects_of(HELD, STARTED, lost, ENDED_WELL) == [Discard(Reason.LOST)]
    assert effects_of(lost) == [Discard(Reason.LOST)]


def test_who_goes_down_says_so() -> None:
    """A runner that is stopped kills what runs and reports it as lost, with its reason."""
    assert effects_of(HELD, STARTED, Abandoned(at=2.0)) == [Kill(Reason.ABANDONED)]
    report = report_of(HELD, STARTED, Abandoned(at=2.0), KILLED)
    assert (report.outcome, report.error) == (Outcome.LOST, "its runner was stopped")


def test_who_goes_down_before_it_began_is_silent() -> None:
    """A lease under which nothing was started is left to expire, which costs no attempt."""
    assert effects_of(Abandoned(at=2.0)) == [Discard(Reason.ABANDONED)]


def test_a_lost_lease_outranks_a_cancel() -> None:
    """A run that was to be cancelled is not ours to report any more."""
    asked = (HELD, STARTED, CancelRequested(at=2.0), LeaseLost(at=3.0))
    assert effects_of(*asked) == [Kill(Reason.LOST, at_once=True)]
    assert effects_of(*asked, KILLED) == [Discard(Reason.LOST)]


def test_a_lost_lease_gives_no_leave() -> None:
    """A late renewal does not wake what was condemned."""
    assert effects_of(HELD, STARTED, LeaseLost(at=2.0), LeaseHeld(at=1.9, until=8.0)) == []


def test_unkept_output_ends_the_run() -> None:
    """A run whose output cannot be stored is killed and fails, naming the reason."""
    asked = (HELD, STARTED, OutputUnkept(at=2.0, error="disk full"))
    assert effects_of(*asked) == [Kill(Reason.UNKEPT)]
    report = report_of(*asked, KILLED)
    assert report.outcome is Outcome.FAILED
    assert report.error == "its output could not be kept: disk full"


def test_a_run_that_takes_too_much_of_the_disk_ends_at_once() -> None:
    """It may not write one byte more, and its failure says how much it was."""
    asked = (HELD, STARTED, Overfull(at=2.0, error="used 21.0 GB of 20.0 GB disk"))
    assert effects_of(*asked) == [Kill(Reason.OVERFULL, at_once=True)]
    report = report_of(*asked, KILLED)
    assert (report.outcome, report.kind) == (Outcome.FAILED, FailureKind.LIMIT)
    assert report.error == "used 21.0 GB of 20.0 GB disk"


def test_progress_is_told() -> None:
    """The percentage a program tells its terminal is reported."""
    assert effects_of(HELD, STARTED, Output(at=2.0, data=osc(40))) == [Tell(40)]


def test_unchanged_progress_is_not_told() -> None:
    """The same percentage again is silence."""
    told = (HELD, STARTED, Output(at=2.0, data=osc(40)))
    assert effects_of(*told, Output(at=3.0, data=osc(40))) == []


def test_progress_is_told_four_times_a_second_at_most() -> None:
    """A change that comes too soon is told by a later tick, in its latest form."""
    session, _ = after(HELD, STARTED, Output(at=2.0, data=osc(40)))
    assert session.receive(Output(at=2.1, data=osc(41))) == []
    assert session.receive(Output(at=2.2, data=osc(42))) == []
    assert session.receive(Tick(at=2.25)) == [Tell(42)]
    assert session.receive(Tick(at=2.5)) == []


def test_progress_may_go_down() -> None:
    """A program that starts over says so."""
    told = (HELD, STARTED, Output(at=2.0, data=osc(40)))
    assert effects_of(*told, Output(at=3.0, data=osc(5))) == [Tell(5)]


@pytest.mark.parametrize(
    "signal",
    [
        HELD,
        STARTED,
        LeaseLost(at=9.0),
        CancelRequested(at=9.0),
        Abandoned(at=9.0),
        Tick(at=99.0),
        ENDED_WELL,
        Output(at=9.0, data=b"x"),
        OutputUnkept(at=9.0, error="x"),
        Overfull(at=9.0, error="x"),
        StartFailed(at=9.0, error="x"),
    ],
)
def test_what_is_over_is_over(signal: AnySignal) -> None:
    """After its last effect a run asks for nothing."""
    session, _ = after(HELD, STARTED, ENDED_WELL)
    assert session.receive(signal) == []
    assert session.phase is Phase.OVER


def test_every_walk_ends_with_one_last_effect() -> None:
    """Whatever five signals come, and in whatever order: at most one Start and one last effect."""
    alphabet: list[AnySignal] = [
        HELD,
        STARTED,
        LeaseLost(at=2.0),
        CancelRequested(at=2.0),
        Abandoned(at=2.0),
        Tick(at=99.0),
        KILLED,
        StartFailed(at=2.0, error="x"),
    ]
    walks: list[tuple[AnySignal, ...]] = [()]
    for _ in range(5):
        walks = [(*walk, signal) for walk in walks for signal in alphabet]
    for walk in walks:
        session = Session(task_id=7, execution_id=EXECUTION, epoch=3, timeout_sec=10)
        effects = [effect for signal in walk for effect in session.receive(signal)]
        last = [effect for effect in effects if isinstance(effect, Finish | Discard)]
        assert len(last) <= 1
        assert (session.phase is Phase.OVER) == bool(last)
        assert sum(isinstance(effect, Start) for effect in effects) <= 1
        if last:
            assert effects[-1] == last[0]
