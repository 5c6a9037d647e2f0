"""`pandar pending` as people see it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pandar_daemon.cli.look import PLAIN, Look
from pandar_daemon.cli.pending_table import PendingRow, pending_list

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
ROWS = [
    PendingRow(
        id="c1",
        task_id=42,
        gate="git_push_protected",
        card={"command": "git push\norigin \x1b[31mmain", "severity": "high"},
        expires_at=NOW + timedelta(minutes=12),
    ),
    PendingRow(
        id="c2",
        task_id=7,
        gate="question",
        card={"question": "Which database?"},
        expires_at=NOW - timedelta(minutes=1),
        quorum=2,
        votes=[{"by": "bob"}],
    ),
]


def test_a_list() -> None:
    """A line each: which task, at what, what exactly, how long there is; then what to do."""
    lines = pending_list(ROWS, NOW, PLAIN, more=False).splitlines()
    assert lines[0].split() == ["TASK", "GATE", "WHAT", "LEFT"]
    assert lines[1].split("  ")[-1].strip() == "12 m"
    assert "git push protected" in lines[1]
    assert "\x1b" not in lines[1]
    assert "question 1/2" in lines[2]
    assert lines[2].endswith("overdue")
    assert "pandar task link 42" in lines[-1]


def test_it_fits_a_narrow_terminal() -> None:
    """Only what is asked gives way."""
    shown = pending_list(ROWS, NOW, Look(width=60), more=True)
    assert max(map(len, shown.splitlines()[:3])) <= 60
    assert shown.endswith("there are more: see --limit\n")


def test_nothing_waits() -> None:
    """An empty list says so."""
    assert pending_list([], NOW, PLAIN, more=False) == "Nothing waits for you.\n"
