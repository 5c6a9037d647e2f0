"""Lost runners: nothing is lost with them, and nothing they say later counts."""

from __future__ import annotations

from datetime import timedelta

import pytest

from events import running as tell
from events import task as did
from events.task import FailureKind, Status
from pandar_daemon.domain.task_rules import Stale
from pandar_daemon.ports import LeaseOp
from pandar_daemon.services.claims import claims
from tests.support import stories as s
from tests.support.given import NOW, TASK_ID, given


def test_what_had_not_begun_is_queued_again() -> None:
    """A runner that never renewed has started nothing: another try, and it does not count."""
    task, happened = given(s.running(max_retries=1, on_lost="fail")).after(s.lose(begun=False))
    reason = "its runner was lost before it began"
    again = s.retried(2, automatic=True, from_status=Status.RUNNING, reason=reason)
    assert happened == [s.lost(begun=False), again]
    assert task.task.retries == 0


def test_on_lost_retry() -> None:
    """A loss uses up a retry, with the pause of a failure."""
    given(s.running(max_retries=1)).when(s.lose()).then(
        [
            s.lost(),
            s.retried(
                2,
                after_sec=10,
                automatic=True,
                counted=True,
                from_status=Status.RUNNING,
                reason="retry 1 of 1",
            ),
        ]
    )


@pytest.mark.parametrize("metadata", [{}, {"on_lost": "confirm", "max_retries": 5}])
def test_on_lost_confirm(metadata: dict[str, object]) -> None:
    """Without a retry left, or when told so, a person is asked what to do."""
    task, (lost, requested) = given(s.running(**metadata)).after(s.lose())
    assert lost == s.lost()
    assert isinstance(requested, did.ConfirmationRequested)
    assert (requested.gate, requested.confirmation_id) == ("lost_runner", s.confirmation(9))
    assert requested.card["runner_id"] == s.RUNNER
    assert requested.expires_at == s.DEADLINE
    assert task.task.status is Status.WAITING_CONFIRMATION


def test_on_lost_fail() -> None:
    """A task may say that a loss is the end."""
    error = "its runner was lost"
    given(s.running(on_lost="fail", max_retries=5)).when(s.lose()).then(
        [s.lost(), _failed_without_process(error, FailureKind.LOST_RUNNER)]
    )


def test_a_lost_cancelled_run_is_cancelled() -> None:
    """Whoever wanted it to end gets what they asked for, whatever ``on_lost`` says."""
    given(s.cancelling(max_retries=5)).when(s.lose()).then(
        [
            s.lost(),
            did.TaskCancelled(
                from_status=Status.RUNNING,
                reason="its runner was lost",
            ),
        ]
    )


def test_a_confirmation_outlives_its_runner() -> None:
    """A loss while somebody has to decide leaves the question open; approval starts it anew."""
    task, happened = given(s.waiting(max_retries=5)).after(s.lose())
    assert happened == [s.lost()]
    assert task.task.status is Status.WAITING_CONFIRMATION
    again = s.retried(2, from_status=Status.RUNNING, reason="approved after its runner was lost")
    task.when(s.confirm()).then([s.approved(), again])


def test_recovery_approved() -> None:
    """Approval runs it again and starts the count of retries anew."""
    task, _ = given(s.running()).after(s.lose())
    task, happened = task.after(s.confirm(of=9))
    reason = "approved after its runner was lost"
    assert happened == [s.approved(9), s.retried(2, from_status=Status.RUNNING, reason=reason)]
    task.when(s.dispatch(2)).then([s.started(2)])


def test_recovery_denied() -> None:
    """Denial leaves it failed, in the words of who denied."""
    task, _ = given(s.running()).after(s.lose())
    task.when(s.deny(reason="half done is fine")).then(
        [
            did.TaskDenied(by="ann", confirmation_id=s.confirmation(9), reason="half done is fine"),
            _failed_without_process("half done is fine", FailureKind.DENIED),
        ]
    )


def test_recovery_expired() -> None:
    """When nobody decides, it has failed."""
    task, _ = given(s.running()).after(s.lose())
    task.when(s.expire(9), at=s.DEADLINE).then(
        [
            did.ConfirmationExpired(confirmation_id=s.confirmation(9)),
            _failed_without_process("nobody decided in time", FailureKind.DENIED),
        ]
    )


def test_a_lost_runner_comes_too_late() -> None:
    """Nothing it says later counts: not its success, and not under another epoch either."""
    task, _ = given(s.running(max_retries=1)).after(s.lose())
    task, _ = task.after(s.dispatch(2), at=NOW + timedelta(seconds=10))
    task.when(s.finish(tell.Outcome.COMPLETED, by=1)).refuses(
        Stale, f"execution {s.execution(1)} (epoch 1) of task {TASK_ID} is over", state="running"
    )
    forged = tell.ReportProgress(task_id=TASK_ID, execution_id=s.execution(1), epoch=2, progress=99)
    task.when(forged).refuses(
        Stale, f"execution {s.execution(1)} (epoch 2) of task {TASK_ID} is over", state="running"
    )


def _failed_without_process(error: str, kind: FailureKind) -> did.TaskFailed:
    return did.TaskFailed(execution_id=None, error=error, kind=kind, from_status=Status.RUNNING)


def test_a_runner_going_down_gives_up_as_if_lost() -> None:
    """What a stopped runner reports as lost goes on as ``on_lost`` says, at once."""
    report = s.finish(tell.Outcome.LOST)
    _, (lost, again) = given(s.running(max_retries=1)).after(report)
    assert isinstance(lost, did.ExecutionLost)
    assert (lost.given_up, lost.begun, lost.reason) == (True, True, "its runner was stopped")
    assert isinstance(again, did.TaskRetried)
    assert again.counted
    _, (lost, requested) = given(s.running()).after(report)
    assert isinstance(requested, did.ConfirmationRequested)
    assert requested.gate == "lost_runner"


def test_giving_up_releases_the_lease() -> None:
    """A lease that is given up is released whether it expired or not; a lost one must have."""
    for asked, op in ((s.finish(tell.Outcome.LOST), LeaseOp.RELEASE), (s.lose(), LeaseOp.EXPIRE)):
        before = given(s.running()).task
        _, happened = given(s.running()).after(asked)
        change = claims(before, happened, ttl_sec=8.0).lease
        assert change is not None
        assert change.op is op
