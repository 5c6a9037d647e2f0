"""`pandar task show` as people see it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from rich.cells import cell_len

from events.task import Cut, Status
from pandar_daemon.cli.harmless import harmless
from pandar_daemon.cli.look import PLAIN, Look
from pandar_daemon.cli.rows import ExecutionRow, HappenedRow, TaskRow
from pandar_daemon.cli.task_card import TIMELINE_LINES, Card, task_card
from pandar_daemon.cli.task_output import OUTPUT_LINES, size

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
RUNNER = "0198c1de-0000-7000-8000-00000badcafe"


def ago(minutes: float) -> datetime:
    """Return a time before now."""
    return NOW - timedelta(minutes=minutes)


TASK = TaskRow(
    id=42,
    name="Nightly audit",
    description="audit + open PRs",
    status=Status.RUNNING,
    command="codex audit --fix",
    project_id=1,
    progress=42,
    attempt=2,
    runner_id=RUNNER,
    metadata={"agent": "codex", "timeout_sec": 600, "gates": ["git_push"]},
    created_by="7",
    created_at=ago(5),
    started_at=ago(3),
    output="\x1b[32mok\x1b[0m cloned\r\n" + "a long line " * 9 + "\r\n",
)
CARD = Card(
    task=TASK,
    executions=[
        ExecutionRow(
            attempt=1,
            status="failed",
            started_at=ago(60),
            duration=3.24,
            exit_code=1,
            runner_id="r1",
        ),
        ExecutionRow(attempt=2, status="running", started_at=ago(3), runner_id=RUNNER),
    ],
    timeline=[
        HappenedRow(position=1, type="task.created", at=ago(5), actor="user:7", summary="Filed"),
        HappenedRow(
            position=2,
            type="task.started",
            at=ago(3),
            actor=f"runner:{RUNNER}",
            summary=f"Attempt 2 started by {RUNNER}",
            data={"runner_id": RUNNER},
        ),
    ],
)
ASKED = HappenedRow(
    position=3,
    type="task.confirmation_requested",
    at=ago(1),
    summary="Waits for a decision (git_push) until 2026-02-01T11:00:00.000000Z",
    data={
        "card": {"title": "Push 3 commits", "command": "git push \x1b[8morigin"},
        "expires_at": "2026-02-01T11:00:00Z",
    },
)
WAITING = Card(
    task=msgspec.structs.replace(
        TASK, status=Status.WAITING_CONFIRMATION, status_reason="gate:git_push"
    ),
    timeline=[*CARD.timeline, ASKED],
)

LOST = Card(
    task=msgspec.structs.replace(
        TASK, status=Status.WAITING_CONFIRMATION, status_reason="lost_runner", runner_id=None
    ),
    executions=[ExecutionRow(attempt=2, status="lost", runner_id=RUNNER)],
    timeline=[
        HappenedRow(
            position=3,
            type="task.confirmation_requested",
            data={
                "gate": "lost_runner",
                "card": {
                    "gate": "lost_runner",
                    "task_id": 42,
                    "attempt": 2,
                    "execution_id": "0198c1de-0000-7000-8000-000000000001",
                    "runner_id": RUNNER,
                    "command": "codex audit \x1b[8m--fix",
                    "progress": 42,
                    "question": "The runner vanished; parts of it may have been done.",
                    "approve": "run it again from the start",
                    "deny": "leave it and mark the task as failed",
                },
                "expires_at": "2026-02-01T11:00:00Z",
            },
        )
    ],
)
LOST_QUESTION = """\
needs you: runner lost
  The runner vanished; parts of it may have been done.
  command: codex audit --fix
  attempt: 2
  counts as denied in 23 h

  pandar task confirm 42  approves: run it again from the start
  pandar task confirm 42 --deny --reason "…"  refuses: leave it and mark the task as failed
"""

PLAIN_100 = """\
running  Nightly audit  task 42
audit + open PRs

command    codex audit --fix
metadata   timeout_sec=600  gates=["git_push"]
project    1                           progress  42%
priority   medium                      created   5 m ago by 7
agent      codex                       started   3 m ago
attempt    2 on …0badcafe

output, see pandar task logs 42
  ok cloned
  a long line a long line a long line a long line a long line a long line a long line a long line a
  long line

ATTEMPT  STATUS   STARTED   TOOK  EXIT  RUNNER
      1  failed   1 h ago  3.2 s     1  r1
      2  running  3 m ago               …0badcafe

11:55:00  Filed                           user:7
11:57:00  Attempt 2 started by …0badcafe  runner:…0badcafe
"""


def test_plain_at_100_columns() -> None:
    """Header, facts in two columns, output, attempts, timeline: calm and aligned."""
    assert task_card(CARD, NOW, Look(width=100)) == PLAIN_100


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("card", [CARD, WAITING, LOST])
def test_no_line_is_wider_than_the_terminal(card: Card, width: int, colour: bool) -> None:
    """Long lines fold, tables give way."""
    text = harmless(task_card(card, NOW, Look(width=width, colour=colour)))
    assert max(map(cell_len, text.splitlines())) <= width


def test_what_it_asks_comes_first_with_how_to_answer() -> None:
    """Whoever is needed sees the card, the deadline and the three answers at once."""
    text = task_card(WAITING, NOW, PLAIN)
    assert text.index("needs you: git push") < text.index("command    codex")
    assert "title: Push 3 commits" in text
    assert "counts as denied in 23 h" in text
    for how in ("pandar task confirm 42  ", "--deny", "--changes"):
        assert how in text


def test_a_lost_runner_is_a_question_of_its_own() -> None:
    """What may have been done, and what either answer leads to; nothing nobody can answer."""
    text = task_card(LOST, NOW, PLAIN)
    assert LOST_QUESTION in text
    assert "--changes" not in text


def test_nobody_can_change_what_is_gone() -> None:
    """The runner may be lost while a gate's question waits: then there are two answers."""
    gone = [ExecutionRow(attempt=2, status="lost")]
    text = task_card(msgspec.structs.replace(WAITING, executions=gone), NOW, PLAIN)
    assert "title: Push 3 commits" in text
    assert "--deny" in text
    assert "--changes" not in text


def test_a_card_of_the_past_asks_nothing() -> None:
    """A decision belongs to the present."""
    past = msgspec.structs.replace(WAITING, at="17", timeline=[])
    text = task_card(past, NOW, PLAIN)
    assert "task 42 at 17" in text
    assert "confirm" not in text


def test_the_card_shows_the_end_of_output_and_timeline() -> None:
    """What happened last is what one looks for."""
    long = msgspec.structs.replace(
        CARD,
        task=msgspec.structs.replace(TASK, output="".join(f"line {n}\n" for n in range(40))),
        timeline=[
            HappenedRow(position=n, type="task.progressed", summary=f"{n} %") for n in range(1, 31)
        ],
    )
    text = task_card(long, NOW, PLAIN)
    assert f"line {39 - OUTPUT_LINES}\n" not in text
    assert "line 39" in text
    assert f"… {30 - TIMELINE_LINES} earlier" in text


def test_colour_is_the_outputs_own() -> None:
    """Colours of the output are kept where there is colour, and none of its other escapes."""
    text = task_card(CARD, NOW, Look(width=100, colour=True))
    assert "\x1b[32mok" in text
    assert "╭" in text


def test_a_card_cannot_hide_a_word() -> None:
    """The card of a confirmation is plain: an agent cannot conceal part of a command in it."""
    text = task_card(WAITING, NOW, Look(width=100, colour=True))
    assert "git push origin" in text


def test_a_failure_is_told() -> None:
    """The error stands among the first facts."""
    failed = TaskRow(
        id=1, name="x", status=Status.FAILED, command="false", error="exit code 1", exit_code=1
    )
    assert "error      exit code 1" in task_card(Card(task=failed), NOW, PLAIN)


@pytest.mark.parametrize("of_attempt", [True, False])
def test_what_is_not_kept_of_the_output_is_told(of_attempt: bool) -> None:
    """Nobody takes the ends of an output for the whole, while the attempt goes on or after."""
    cut = Cut(start=1_000, end=1_901_000)
    ended = ExecutionRow(attempt=2, status="completed", cut=cut)
    card = (
        msgspec.structs.replace(CARD, executions=[ended])
        if of_attempt
        else msgspec.structs.replace(CARD, cut=cut)
    )
    assert "logs 42\n  1.9 MB cut from the middle\n  ok cloned\n" in task_card(card, NOW, PLAIN)
    assert "cut" not in task_card(CARD, NOW, PLAIN)


@pytest.mark.parametrize(
    ("count", "text"),
    [(812, "812 B"), (1_000, "1.0 kB"), (1_949_999, "1.9 MB"), (10**12, "1000.0 GB")],
)
def test_bytes_have_one_unit(count: int, text: str) -> None:
    """As people say it."""
    assert size(count) == text


def test_much_metadata_has_a_line_for_each() -> None:
    """Three or more entries in a line are not seen."""
    task = msgspec.structs.replace(TASK, metadata={"a": 1, "b": "x y", "c": [2], "agent": "codex"})
    text = task_card(msgspec.structs.replace(CARD, task=task), NOW, Look(width=80))
    assert "metadata   a=1\n           b=x y\n           c=[2]\n" in text
