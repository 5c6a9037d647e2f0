"""`pandar task list` as people see it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len

from events.task import Priority, Status
from pandar_daemon.cli.harmless import harmless
from pandar_daemon.cli.look import PLAIN, Look
from pandar_daemon.cli.rows import TaskRow
from pandar_daemon.cli.task_table import Page, task_list

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    """Return a time before now."""
    return NOW - timedelta(seconds=seconds)


TASKS = [
    TaskRow(
        id=7,
        name="Update the dependencies of the monorepo, then run every test twice",
        status=Status.PENDING,
        priority=Priority.URGENT,
        status_reason="queued",
        created_at=ago(4),
        project_id=1,
    ),
    TaskRow(
        id=1042,
        name="Refactor the parser",
        status=Status.RUNNING,
        progress=62,
        started_at=ago(720),
        project_id=1,
    ),
    TaskRow(
        id=1041,
        name="Nightly audit",
        status=Status.WAITING_CONFIRMATION,
        status_reason="gate:git_push_protected",
        created_at=ago(190),
        project_id=1,
    ),
    TaskRow(
        id=3,
        name="夜间审计",
        status=Status.COMPLETED,
        duration=123.4,
        completed_at=ago(8_000),
        project_id=1,
    ),
    TaskRow(
        id=2,
        name="Broken",
        status=Status.FAILED,
        exit_code=1,
        completed_at=ago(90_000),
        project_id=1,
    ),
    TaskRow(id=1, name="Old", status=Status.CANCELLED, updated_at=ago(900_000), project_id=1),
]

PAGE = Page(tasks=TASKS, total=len(TASKS))
PLAIN_100 = """\
  ID  STATUS     NAME                                         PRIORITY                           AGE
1041  needs you  Nightly audit                                          git push protected   3 m ago
1042  running    Refactor the parser                                    62%                 12 m ago
   7  pending    Update the dependencies of the monorepo, t…  urgent    queued               4 s ago
   3  completed  夜间审计                                               2 m 3 s              2 h ago
   2  failed     Broken                                                 exit 1               1 d ago
   1  cancelled  Old                                                                         1 w ago

1 needs you, 1 running, 1 pending, 1 failed, 1 completed, 1 cancelled
see what it asks:  pandar task show 1041
"""


def test_plain_at_100_columns() -> None:
    """What needs somebody comes first, columns align, ids are right-aligned."""
    assert task_list(PAGE, NOW, Look(width=100)) == PLAIN_100


def test_the_narrow_list_drops_what_is_merely_nice() -> None:
    """At 60 columns state, name, detail and age are still there."""
    lines = task_list(PAGE, NOW, Look(width=60)).splitlines()
    assert lines[0].split() == ["ID", "STATUS", "NAME", "AGE"]
    assert lines[1].split() == [
        "1041",
        "needs",
        "you",
        "Nightly",
        "audit",
        "git",
        "push",
        "p…",
        "3",
        "m",
        "ago",
    ]
    assert lines[-2] == "1 needs you, 1 running, 1 pending, 3 over"


@pytest.mark.parametrize("width", [40, 60, 72, 80, 100, 200])
@pytest.mark.parametrize("colour", [False, True])
def test_no_line_is_wider_than_the_terminal(width: int, colour: bool) -> None:
    """Lines never wrap by themselves, wide characters count double."""
    text = harmless(task_list(PAGE, NOW, Look(width=width, colour=colour)))
    assert max(map(cell_len, text.splitlines())) <= width


def test_colour_has_glyphs_and_a_bar() -> None:
    """Where a person looks every state has its picture, and what needs them is reversed."""
    text = task_list(PAGE, NOW, Look(width=100, colour=True))
    for mark in ("◆ needs you", "◐ running", "○ pending", "✓ completed", "✗ failed", "⊘ cancelled"):
        assert mark in text
    assert "━━━━━━" in text
    assert "\x1b[1;7;33m◆ needs you" in text


def test_the_spinner_turns() -> None:
    """Under --watch a running task moves."""
    look = Look(width=100, colour=True)
    frames = {task_list(PAGE, NOW, look, frame=n) for n in range(5)}
    assert len(frames) == 4


def test_plain_has_neither_escapes_nor_drawings() -> None:
    """A pipe gets words only, and nothing is cut."""
    text = task_list(PAGE, NOW, PLAIN)
    assert "\x1b" not in text
    assert not set(text) & set("━─╭│◆◐○✓✗⊘▲·…")
    assert TASKS[0].name in text


def test_projects_are_told_apart_only_when_there_are_several() -> None:
    """A column that says the same everywhere is left out."""
    other = TaskRow(id=9, name="Other", status=Status.PENDING, project_id=2)
    assert "PROJECT" not in task_list(PAGE, NOW, PLAIN)
    assert "PROJECT" in task_list(Page(tasks=[*TASKS, other]), NOW, PLAIN)


def test_a_name_cannot_act() -> None:
    """A task named by somebody else stays one harmless line."""
    evil = TaskRow(id=1, name="a\x1b]0;x\x07\n[bold]b[/bold]\r99", status=Status.PENDING)
    line = task_list(Page(tasks=[evil]), NOW, Look(width=100, colour=True)).splitlines()[1]
    assert "a [bold]b[/bold] 99" in line


def test_an_empty_list_says_what_to_do() -> None:
    """Nobody is left before an empty screen."""
    assert "pandar task create" in task_list(Page(tasks=[]), NOW, PLAIN)


def test_a_filter_without_a_match_says_so() -> None:
    """There may be tasks: only none of those asked for."""
    assert task_list(Page(tasks=[], filtered=True), NOW, PLAIN) == "No task matches.\n"


def test_what_is_not_shown_is_told() -> None:
    """The counts are those of the tasks shown, and the line says of how many."""
    text = task_list(Page(tasks=TASKS, total=1_370), NOW, PLAIN)
    assert "1 cancelled  (6 of 1,370 shown, see --limit)\n" in text
    whole = task_list(Page(tasks=TASKS * 17, total=1_370), NOW, PLAIN)
    assert "(102 of 1,370 shown)\n" in whole  # there is no greater limit
    assert "shown" not in task_list(PAGE, NOW, PLAIN)
