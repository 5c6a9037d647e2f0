"""What people may do with a task, rule by rule, each by example."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import pytest

from events import commands as do
from events import running as tell
from events import task as did
from events.project import MemberAdded, MemberRole
from events.task import FailureKind, Status
from pandar_daemon.domain.refusals import Rejected
from pandar_daemon.domain.retry import backoff_sec
from tests.support import stories as s
from tests.support.given import NOW, TASK_ID, given, given_task

# --- filing ---------------------------------------------------------------------------------------


def test_create_starts_at_once() -> None:
    """A task without a time is filed and queued in one."""
    given([]).when(s.create()).then(s.queued())


def test_create_with_a_time_waits_for_it() -> None:
    """A task with a time is not queued before it."""
    at = NOW + timedelta(hours=1)
    given([]).when(s.create(scheduled_at=at)).then([_scheduled(at)])


def test_auto_start_overrides() -> None:
    """The field decides, whatever the default would be."""
    at = NOW + timedelta(hours=1)
    given([]).when(s.create(auto_start=False)).then(s.filed())
    given([]).when(s.create(auto_start=True, scheduled_at=at)).then(
        [_scheduled(at), did.StartRequested()]
    )


def test_a_scheduled_task_is_started_by_start() -> None:
    """When its time has come the scheduler sends what a person would send."""
    scheduled: list[did.TaskEvent] = [_scheduled(NOW + timedelta(hours=1))]
    given(scheduled).when(do.StartTask(reason="due")).then([did.StartRequested(reason="due")])
    given([*scheduled, did.StartRequested()]).when(do.StartTask()).then_nothing()


def test_a_task_is_filed_once() -> None:
    """The same stream is no second task."""
    given(s.filed()).when(s.create()).refuses(
        Rejected, f"cannot create task {TASK_ID} while it is pending", state="pending"
    )


def test_the_asker_is_the_creator() -> None:
    """Who files it is told by who asks, not by what is asked."""
    (created, _) = given([]).when(s.create(), user="bob").happened
    assert isinstance(created, did.TaskCreated)
    assert created.created_by == "bob"


def _scheduled(at: datetime) -> did.TaskCreated:
    return msgspec.structs.replace(s.created(), scheduled_at=at)


# --- updating and deleting ------------------------------------------------------------------------


def test_update_says_what_changed_only() -> None:
    """Fields that stay as they are are not in the event."""
    given(s.filed()).when(do.UpdateTask(name="tidy up", description="all of it", metadata={})).then(
        [did.TaskUpdated(description="all of it")]
    )


def test_update_to_the_same_is_silent() -> None:
    """An update that changes nothing is accepted and leaves no event."""
    given(s.running()).when(s.update(name="tidy up")).then_nothing()
    given(s.running()).when(do.UpdateTask()).then_nothing()


def test_a_queued_task_can_repeat_its_time() -> None:
    """Only a time that moves is refused once the task is queued."""
    at = NOW + timedelta(hours=1)
    queued: list[did.TaskEvent] = [_scheduled(at), did.StartRequested()]
    given(queued).when(do.UpdateTask(scheduled_at=at)).then_nothing()
    given(queued).when(do.UpdateTask(scheduled_at=None)).refuses(
        Rejected, f"cannot reschedule task {TASK_ID} while it is pending", state="pending"
    )


def test_updated_metadata_is_obeyed() -> None:
    """New metadata replaces the old and rules from the next decision on."""
    updated, _ = given(s.running(max_retries=1)).after(s.update(metadata={"note": "no more"}))
    assert updated.task.metadata == {"note": "no more"}
    updated.when(s.finish(tell.Outcome.FAILED)).then([s.failed()])


def test_delete_says_what_it_was() -> None:
    """A deleted task leaves the count of its status."""
    given([*s.running(), s.completed()]).when(do.DeleteTask(reason="old")).then(
        [did.TaskDeleted(from_status=Status.COMPLETED, reason="old")]
    )


# --- retries --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retries", "pause"), [(0, 10), (1, 20), (2, 40), (3, 80), (4, 160), (5, 300), (10_000, 300)]
)
def test_backoff(retries: int, pause: float) -> None:
    """The pause doubles from 10 s and never exceeds 300 s."""
    assert backoff_sec(retries) == pause


def test_failures_are_retried_until_they_are_used_up() -> None:
    """With two retries the third failure is the last; each pause is twice the one before."""
    task = given(s.running(max_retries=2))
    for n, pause in ((1, 10), (2, 20)):
        task, happened = task.after(s.finish(tell.Outcome.FAILED, by=n))
        assert happened == [
            s.failed(n, will_retry=True),
            s.retried(
                n + 1, after_sec=pause, automatic=True, counted=True, reason=f"retry {n} of 2"
            ),
        ]
        task, _ = task.after(s.dispatch(n + 1), at=NOW + timedelta(seconds=pause))
    task.when(s.finish(tell.Outcome.FAILED, by=3)).then([s.failed(3)])


def test_a_pause_is_kept() -> None:
    """A runner gets the task when its pause is over and not a moment sooner."""
    task, _ = given(s.running(max_retries=1)).after(s.finish(tell.Outcome.FAILED))
    over = NOW + timedelta(seconds=10)
    task.when(s.dispatch(2), at=over - timedelta(microseconds=1)).refuses(
        Rejected, f"cannot dispatch task {TASK_ID} while it is pending", state="pending"
    )
    task.when(s.dispatch(2), at=over).then([s.started(2)])


def test_a_manual_retry_starts_the_count_anew() -> None:
    """Who asks for another attempt gets all automatic ones again, from the shortest pause on."""
    task, _ = given(s.running(max_retries=1)).after(s.finish(tell.Outcome.FAILED))
    task, _ = task.after(s.dispatch(2), at=NOW + timedelta(seconds=10))
    task, happened = task.after(s.finish(tell.Outcome.FAILED, by=2))
    assert happened == [s.failed(2)]
    task, happened = task.after(do.RetryTask(reason="fixed it"))
    assert happened == [s.retried(3, reason="fixed it")]
    task, _ = task.after(s.dispatch(3))
    again = [
        s.failed(3, will_retry=True),
        s.retried(4, after_sec=10, automatic=True, counted=True, reason="retry 1 of 1"),
    ]
    task.when(s.finish(tell.Outcome.FAILED, by=3)).then(again)


def test_nobody_is_asked_twice_after_a_denial() -> None:
    """A run that failed because somebody said no is not retried by itself."""
    denied = s.finish(tell.Outcome.FAILED, kind=FailureKind.DENIED)
    (failed,) = given(s.running(max_retries=3)).when(denied).happened
    assert isinstance(failed, did.TaskFailed)
    assert not failed.will_retry


def test_a_cancelled_task_can_be_retried() -> None:
    """It starts a new attempt at once."""
    given([*s.cancelling(), s.cancelled()]).when(do.RetryTask()).then(
        [s.retried(2, from_status=Status.CANCELLED)]
    )


# --- races with cancel ----------------------------------------------------------------------------


def test_done_before_the_kill_is_done() -> None:
    """A run that succeeded although a cancel was on its way has succeeded."""
    given(s.cancelling()).when(s.finish(tell.Outcome.COMPLETED)).then([s.completed()])


def test_killed_by_cancel_is_cancelled() -> None:
    """A run that failed while it was being cancelled is cancelled, and not retried."""
    (event,) = given(s.cancelling(max_retries=3)).when(s.finish(tell.Outcome.FAILED)).happened
    assert isinstance(event, did.TaskCancelled)
    assert (event.exit_code, event.output_tail, event.duration_sec) == (2, "no\n", 1.5)


def test_cancel_takes_the_confirmation_with_it() -> None:
    """A waiting task is cancelled as a running one is; its confirmation can be decided no more."""
    task, happened = given(s.waiting()).after(do.CancelTask(reason="no need"))
    assert happened == [
        did.CancelRequested(reason="no need", from_status=Status.WAITING_CONFIRMATION)
    ]
    for decision in (s.confirm(), s.confirm(of=1), s.deny()):
        task.when(decision).refuses(
            Rejected, f"cannot confirm task {TASK_ID} while it is running", state="running"
        )
    task.when(s.expire(), at=s.DEADLINE).then_nothing()


def test_cancel_is_no_repeat_of_an_earlier_approval() -> None:
    """Approving what a cancellation took away is refused, though an earlier gate was approved."""
    story = [*s.waiting(), s.approved(), s.asked(2), did.CancelRequested()]
    given(story).when(s.confirm()).refuses(
        Rejected, f"cannot confirm task {TASK_ID} while it is running", state="running"
    )
    given(story).when(s.confirm(of=1)).then_nothing()


# --- progress -------------------------------------------------------------------------------------


def test_progress_known_is_silent() -> None:
    """The same figure twice is one event; a new attempt begins at nothing."""
    known = did.TaskProgressed(execution_id=s.execution(1), progress=50)
    given(s.running()).when(s.progress()).then([known])
    given([*s.running(), known]).when(s.progress()).then_nothing()
    again = [*s.running(), known, s.failed(), s.retried(2), s.started(2)]
    assert given(again).task.progress == 0


# --- old and foreign events -----------------------------------------------------------------------


def test_an_event_of_another_kind_changes_nothing() -> None:
    """The state accepts whatever a stream holds, also what no rule knows."""
    other = MemberAdded(user="bob", role=MemberRole.MEMBER)
    assert given_task(given(s.running()).task, [other]).task == given(s.running()).task


@pytest.mark.parametrize("bad", [True, -1, "3", 2.5, None, [1]])
def test_odd_metadata_of_old_events_counts_as_absent(bad: object) -> None:
    """A value that today's checks would refuse makes no rule fail."""
    given(s.running(max_retries=bad, on_lost=bad, on_deny=bad, agent=bad)).when(
        s.finish(tell.Outcome.FAILED)
    ).then([s.failed()])
