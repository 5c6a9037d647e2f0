"""A recorded call judged anew, and how the trial of a policy is shown."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from events.calls import CallKind, ToolCall, Verdict
from pandar_daemon.cli.look import Look
from pandar_daemon.cli.policy_table import policy_table
from pandar_daemon.domain.replaying import Totals, Tried, Where, totals, what, where
from tests.support.calls import command

FOLDERS = [
    (ToolCall(cwd="/d/workspaces/task-7/src"), Where("/d/workspaces/task-7", "/d/homes/task-7")),
    (
        ToolCall(paths=["a.py", "/d/workspaces/task-7/a.py"]),
        Where("/d/workspaces/task-7", "/d/homes/task-7"),
    ),
    (ToolCall(cwd="/elsewhere"), Where("/elsewhere", "/homes/task")),
    (ToolCall(), Where("/workspaces/task", "/homes/task")),
    (ToolCall(cwd="/d/workspaces/task-7x"), Where("/d/workspaces/task-7x", "/homes/task")),
]


@pytest.mark.parametrize(("call", "expected"), FOLDERS)
def test_a_call_tells_where_its_task_was(call: ToolCall, expected: Where) -> None:
    """Its folder or its paths name the workspace, which names the home."""
    assert where(call) == expected


def test_a_call_is_told_in_one_line() -> None:
    """Its command, or its title, or what it is about; never more than a line."""
    assert what(command("git push \\\n  origin")) == "git push \\ origin"
    assert what(ToolCall(title="Edit a.py", tool="Edit")) == "Edit a.py"
    assert what(ToolCall(tool="Edit", paths=["a", "b"])) == "Edit a b"
    assert what(ToolCall(kind=CallKind.THINK)) == "think"
    assert len(what(command("x" * 9_000))) == 300


def tried(then: Verdict, now: Verdict, said: str = "git push") -> Tried:
    """Return a call of task 42."""
    return Tried(
        position=1,
        at=datetime(2026, 3, 1, tzinfo=UTC),
        task_id=42,
        project_id=1,
        what=said,
        then=then,
        then_rule="policy.auto",
        now=now,
        now_rule="git_push_protected.push",
    )


CALLS = [tried(then, now) for then in Verdict for now in Verdict]


def test_sums() -> None:
    """Prompts saved and new ones are told apart from those that stay."""
    assert totals(CALLS) == Totals(
        calls=9,
        then=dict.fromkeys(Verdict, 3),
        now=dict.fromkeys(Verdict, 3),
        prompts_saved=2,
        newly_asked=2,
        newly_denied=2,
    )
    assert totals([]).calls == 0


def test_it_is_shown_side_by_side() -> None:
    """What changes stands with its rule, the sums below."""
    shown = [call for call in CALLS if call.changed][:2]
    assert policy_table(shown, totals(CALLS), Look()).splitlines() == [
        "TASK  CALL      THEN   NOW   RULE",
        "  42  git push  allow  ask   git_push_protected.push",
        "  42  git push  allow  deny  git_push_protected.push",
        "",
        "9 CALLS  ALLOW  ASK  DENY",
        "then         3    3     3",
        "now          3    3     3",
        "prompts saved: 2, newly asked: 2, newly denied: 2",
        "7 calls as before",
    ]
    assert policy_table([], totals([]), Look()) == "No call was decided in that time.\n"


def test_what_agents_wrote_does_nothing_to_a_terminal() -> None:
    """A call with escape sequences is shown as text, and a narrow terminal gets less."""
    evil = tried(Verdict.ALLOW, Verdict.ASK, "echo \x1b[2J\u202e evil")
    shown = policy_table([evil], totals([evil]), Look(width=40, colour=True))
    assert "\x1b[2J" not in shown
    assert "\u202e" not in shown
    assert "RULE" not in shown
