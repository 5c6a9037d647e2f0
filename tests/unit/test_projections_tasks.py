"""The tasks read model, by example: given events, the row is so."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import msgspec
import pytest

from events import task as did
from events.codec import raw
from events.instant import text
from events.task import Json, Priority, Status
from projections.base import fold
from projections.tasks import TASKS, as_of, shown
from tests.support.lives import (
    START,
    Chronicle,
    chronicle,
    created,
    execution,
    random_lives,
    started,
    statuses,
)

CONFIRMATION = UUID(int=7)
ASKED = did.ConfirmationRequested(
    confirmation_id=CONFIRMATION,
    execution_id=execution(),
    gate="git_push",
    card={},
    card_sha256="00",
    expires_at=START + timedelta(hours=1),
)
COMPLETED = did.TaskCompleted(
    execution_id=execution(), exit_code=0, output_tail="all fine", duration_sec=2.5
)
FAILED = did.TaskFailed(
    execution_id=execution(),
    error="exit code 3",
    kind=did.FailureKind.EXIT_CODE,
    from_status=Status.RUNNING,
    exit_code=3,
    output_tail="no",
    duration_sec=1.0,
)
RETRIED = did.TaskRetried(
    from_status=Status.FAILED, attempt=2, not_before=START + timedelta(minutes=5)
)


def row(*events: did.Event, at: float = 0, key_held: bool = False) -> Json:
    """Return the API's task after these events, so many seconds after the start of time."""
    told = Chronicle()
    told.add("task-42", *events)
    rows = fold(TASKS, told.recorded)["tasks"]
    return shown(rows[42,], START + timedelta(seconds=at), key_held=key_held)


def test_a_filed_task_is_pending() -> None:
    """Filing makes a complete row."""
    task = row(created(metadata={"agent": "codex"}, priority=Priority.HIGH))
    assert task == {
        "id": 42,
        "project_id": 1,
        "name": "Nightly audit",
        "description": "",
        "command": "codex audit --fix",
        "prompt": None,
        "priority": "high",
        "status": "pending",
        "status_reason": None,
        "progress": 0,
        "output": None,
        "error": None,
        "exit_code": None,
        "duration": None,
        "metadata": {"agent": "codex"},
        "created_by": "user:1",
        "created_at": "2026-01-02T03:04:06.000000Z",
        "updated_at": "2026-01-02T03:04:06.000000Z",
        "started_at": None,
        "completed_at": None,
        "scheduled_at": None,
        "attempt": 0,
        "execution_id": None,
        "runner_id": None,
        "agent": None,
        "confirmation_id": None,
        "version": 1,
        "position": 1,
    }


def test_a_running_task_names_its_execution() -> None:
    """A started task tells where and since when it runs."""
    task = row(created(), did.StartRequested(), started())
    assert (task["status"], task["status_reason"], task["attempt"]) == ("running", None, 1)
    assert (task["execution_id"], task["runner_id"]) == (str(execution()), "r1")
    assert task["started_at"] == text(START + timedelta(seconds=3))


def test_progress_is_shown() -> None:
    """The last progress counts."""
    half = did.TaskProgressed(execution_id=execution(), progress=50)
    assert row(created(), did.StartRequested(), started(), half)["progress"] == 50


def test_a_task_at_a_gate_names_it() -> None:
    """While it waits, the reason is the gate and the confirmation is named."""
    task = row(created(), did.StartRequested(), started(), ASKED)
    assert (task["status"], task["status_reason"]) == ("waiting_confirmation", "gate:git_push")
    assert task["confirmation_id"] == str(CONFIRMATION)


@pytest.mark.parametrize(
    "decision",
    [
        did.TaskConfirmed(confirmation_id=CONFIRMATION),
        did.TaskDenied(confirmation_id=CONFIRMATION),
        did.ChangesRequested(confirmation_id=CONFIRMATION, reason="smaller"),
        did.ConfirmationExpired(confirmation_id=CONFIRMATION),
    ],
)
def test_a_decided_task_runs_on(decision: did.Event) -> None:
    """Whatever was decided, nothing is left to confirm."""
    task = row(created(), did.StartRequested(), started(), ASKED, decision)
    assert (task["status"], task["status_reason"]) == ("running", None)
    assert task["confirmation_id"] is None


def test_a_lost_runner_is_the_reason() -> None:
    """The recovery confirmation tells what it is about."""
    lost = did.ExecutionLost(execution_id=execution(), epoch=1, runner_id="r1", begun=True)
    gate = did.ConfirmationRequested(
        confirmation_id=CONFIRMATION,
        execution_id=execution(),
        gate="lost_runner",
        card={},
        card_sha256="00",
        expires_at=START,
    )
    task = row(created(), did.StartRequested(), started(), lost, gate)
    assert (task["status_reason"], task["runner_id"]) == ("lost_runner", None)


def test_a_completed_task_shows_its_outcome() -> None:
    """Completion brings output, exit code, duration and full progress."""
    task = row(created(), did.StartRequested(), started(), COMPLETED)
    assert (task["status"], task["progress"], task["exit_code"]) == ("completed", 100, 0)
    assert (task["output"], task["duration"]) == ("all fine", 2.5)
    assert task["completed_at"] == text(START + timedelta(seconds=4))


def test_a_retry_keeps_the_outcome_until_the_next_attempt_starts() -> None:
    """One sees why it is tried again; then the row is the new attempt's."""
    failed = [created(), did.StartRequested(), started(), FAILED, RETRIED]
    waiting = row(*failed)
    assert (waiting["status"], waiting["completed_at"]) == ("pending", None)
    assert (waiting["error"], waiting["output"], waiting["exit_code"]) == ("exit code 3", "no", 3)
    again = row(*failed, started(2))
    assert (again["status"], again["attempt"]) == ("running", 2)
    assert (again["error"], again["output"], again["exit_code"]) == (None, None, None)


def test_a_retry_waits_for_its_time() -> None:
    """The reason is the time while it is to come, the queue once it is there."""
    events = [created(), did.StartRequested(), started(), FAILED, RETRIED]
    assert row(*events, at=299)["status_reason"] == "retry_at"
    assert row(*events, at=300)["status_reason"] == "queued"


def test_a_queued_task_is_queued_or_blocked() -> None:
    """A queued task whose key another holds says so."""
    assert row(created(), did.StartRequested())["status_reason"] == "queued"
    assert row(created(), did.StartRequested(), key_held=True)["status_reason"] == "blocked_key"


def test_a_scheduled_task_says_so_until_it_is_queued() -> None:
    """A time to start is the reason to wait, also when it is given later."""
    later = did.TaskUpdated(scheduled_at=START)
    assert row(created(scheduled_at=START))["status_reason"] == "scheduled"
    assert row(created(), later)["status_reason"] == "scheduled"
    assert row(created(), later, did.StartRequested())["status_reason"] == "queued"


def test_only_named_fields_are_updated() -> None:
    """An update leaves what it does not name."""
    task = row(created(description="old"), did.TaskUpdated(name="new", priority=Priority.LOW))
    assert (task["name"], task["priority"], task["description"]) == ("new", "low", "old")


def test_cancelling_is_seen_before_it_is_done() -> None:
    """A task being cancelled runs still, with the reason; nothing is left to confirm."""
    asked = did.CancelRequested(from_status=Status.WAITING_CONFIRMATION)
    task = row(created(), did.StartRequested(), started(), ASKED, asked)
    assert (task["status"], task["status_reason"]) == ("running", "cancel_requested")
    assert task["confirmation_id"] is None


def test_a_timeout_is_a_reason() -> None:
    """A failure that is not about the exit code says what it is about."""
    failed = did.TaskFailed(
        execution_id=execution(),
        error="too long",
        kind=did.FailureKind.TIMEOUT,
        from_status=Status.RUNNING,
    )
    task = row(created(), did.StartRequested(), started(), failed)
    assert (task["status"], task["status_reason"]) == ("failed", "timeout")


def test_what_postgres_cannot_hold_is_replaced() -> None:
    """A NUL in an output is shown as the replacement character."""
    done = did.TaskCompleted(
        execution_id=execution(), exit_code=0, output_tail="a\x00b", duration_sec=0
    )
    assert (
        row(created(), did.StartRequested(), started(), done)["output"]
        == "a\N{REPLACEMENT CHARACTER}b"
    )


def test_a_deleted_task_is_gone() -> None:
    """At the moment of its deletion, and after, there is no task; before, there is."""
    told = Chronicle()
    told.add("task-42", created(), did.TaskDeleted(from_status=Status.PENDING))
    assert as_of(told.recorded, START) is None
    before = as_of(told.recorded[:1], START)
    assert before is not None
    assert before["status"] == "pending"
    assert as_of([], START) is None


def test_unknown_events_change_nothing() -> None:
    """An event of a newer release is not ours to understand."""
    told = Chronicle()
    told.add("task-42", created())
    future = told.add("task-42", did.StartRequested())[0]
    unknown = msgspec.structs.replace(future, type="task.teleported", data=raw("{}"))
    assert TASKS.project(unknown) == []


def test_unknown_fields_are_ignored() -> None:
    """A field of a newer release does no harm."""
    told = Chronicle()
    recorded = told.add("task-42", did.StartRequested())[0]
    newer = msgspec.structs.replace(
        recorded, data=raw('{"type":"task.start_requested","mood":"good"}')
    )
    assert TASKS.project(newer) == TASKS.project(recorded)


@pytest.mark.parametrize("seed", range(30))
def test_status_is_what_the_rules_say(seed: int) -> None:
    """After any legal history the row's status is the decider's."""
    recorded = chronicle(random_lives(seed, 5, steps=25))
    rows = fold(TASKS, recorded)["tasks"].values()
    assert {r["id"]: r["status"] for r in rows if not r["deleted"]} == statuses(recorded)
