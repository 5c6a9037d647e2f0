"""Why a followed task is silent, in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from events.task import Json, Status
from pandar_daemon.cli.rows import TaskRow
from pandar_daemon.cli.waits import why

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "more", "text"),
    [
        (Status.PENDING, {}, "waits to be started: pandar task start 42"),
        (Status.PENDING, {"status_reason": "queued"}, "waits for a free runner"),
        (
            Status.PENDING,
            {"status_reason": "scheduled", "scheduled_at": NOW + timedelta(weeks=5)},
            "waits: scheduled in 5 w",
        ),
        (Status.PENDING, {"status_reason": "retry_at"}, "waits: retry soon"),
        (
            Status.PENDING,
            {"status_reason": "blocked_key", "metadata": {"concurrency_key": "a\x1b[2Jb"}},
            "waits its turn: another task holds the concurrency key ab",
        ),
        (Status.PENDING, {"status_reason": "new_one"}, "waits: new one"),
        (Status.RUNNING, {"status_reason": "parked"}, "waits: parked"),
        (
            Status.WAITING_CONFIRMATION,
            {"status_reason": "gate:git_push"},
            "needs you: git push: pandar task show 42",
        ),
        (Status.RUNNING, {}, None),
        (Status.COMPLETED, {}, None),
    ],
)
def test_each_wait_has_its_words(status: Status, more: Json, text: str | None) -> None:
    """Only a task that waits is said to."""
    assert why(TaskRow(id=42, name="x", status=status, **more), None, NOW) == text


@pytest.mark.parametrize(("seconds", "text"), [(9, "in 9 s"), (-3, "now")])
def test_a_retry_has_its_time(seconds: float, text: str) -> None:
    """Never one that is past: then a runner has yet to take it."""
    row = TaskRow(id=42, name="x", status=Status.PENDING, status_reason="retry_at")
    assert why(row, NOW + timedelta(seconds=seconds), NOW) == f"waits: retry {text}"
