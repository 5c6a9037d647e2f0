"""Which attempt is looked at, and when its output is complete."""

from __future__ import annotations

from uuid import UUID

import msgspec
import pytest

from events import codec
from events import task as did
from events.envelope import Recorded
from events.instant import to_utc
from events.task import Event, FailureKind, Status
from pandar_daemon.adapters.http.runs import UNKNOWN, Runs
from tests.support.clock import ManualClock

AT = to_utc(ManualClock().now())


def _recorded(event: Event, position: int) -> Recorded:
    return Recorded(
        position=position,
        stream="task-1",
        version=position,
        event_id=UUID(int=position),
        type=codec.name_of(event),
        schema_version=1,
        recorded_at=AT,
        actor="user:1",
        project_id=1,
        command_id="c",
        correlation_id="c",
        causation_id=None,
        traceparent=None,
        data=msgspec.Raw(codec.encode(event)),
    )


def _runs(*events: Event) -> Runs:
    runs = Runs()
    runs.observe(_recorded(event, position) for position, event in enumerate(events, 1))
    return runs


def _started(attempt: int) -> Event:
    return did.TaskStarted(
        execution_id=UUID(int=attempt), attempt=attempt, epoch=attempt, runner_id="r"
    )


def _failed(attempt: int, *, will_retry: bool) -> Event:
    return did.TaskFailed(
        execution_id=UUID(int=attempt),
        error="e",
        kind=FailureKind.EXIT_CODE,
        from_status=Status.RUNNING,
        output_bytes=7,
        will_retry=will_retry,
    )


_PARKED = did.TaskParked(execution_id=UUID(int=1), output_bytes=7)
_PAUSED = did.TaskPaused(execution_id=UUID(int=1), reason="quota", until=AT, output_bytes=7)
_RETRIED = did.TaskRetried(from_status=Status.FAILED, attempt=2, not_before=AT)
_CANCELLED = did.TaskCancelled(from_status=Status.PENDING)


@pytest.mark.parametrize(
    ("history", "attempt", "written"),
    [
        ((), 1, None),
        ((_CANCELLED,), 1, UNKNOWN),
        ((_started(1),), 1, None),
        ((_started(1), _failed(1, will_retry=False)), 1, 7),
        ((_started(1), _failed(1, will_retry=True), _RETRIED), 2, None),
        ((_started(1), _failed(1, will_retry=False), _RETRIED), 2, None),
        ((_started(1), _failed(1, will_retry=True), _RETRIED, _started(2)), 2, None),
        ((_started(1), _failed(1, will_retry=True), _RETRIED, _CANCELLED), 1, 7),
        ((_started(1), _PARKED), 1, 7),
        ((_started(1), _PAUSED), 1, 7),
        ((_started(1), _PARKED, did.ResumeRequested(), _started(2)), 2, None),
        ((_started(1), _PARKED, _CANCELLED), 1, 7),
    ],
)
def test_the_attempt_to_look_at(
    history: tuple[Event, ...], attempt: int, written: int | None
) -> None:
    """It is the running one, else the next one that will come, else the last."""
    runs = _runs(*history)
    assert runs.attempt == attempt
    assert runs.written(attempt) == written


def test_a_lost_execution_wrote_nobody_knows_how_much() -> None:
    """The output of an attempt whose runner vanished ends, at an unknown byte."""
    lost = did.ExecutionLost(execution_id=UUID(int=1), epoch=1, runner_id="r", begun=True)
    runs = _runs(_started(1), lost)
    assert runs.written(1) == UNKNOWN
    assert runs.written(2) is None


def test_an_earlier_attempt_stays_complete() -> None:
    """While the second attempt runs the first one's size is known and does not change."""
    runs = _runs(_started(1), _failed(1, will_retry=True), _RETRIED, _started(2))
    assert (runs.written(1), runs.written(2)) == (7, None)
    assert runs.started(2)
    assert not runs.started(3)


def test_unknown_events_are_skipped() -> None:
    """An event of a newer release changes nothing and raises nothing."""
    runs = _runs(_started(1))
    strange = msgspec.structs.replace(_recorded(_started(1), 9), type="task.teleported")
    runs.observe([strange])
    assert runs.attempt == 1
