"""Cards: what an approver sees, by example, and that no round trip changes their hash."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.calls import CallKind, Rules, ToolCall
from events.task import Json, OnTimeout, Usage
from pandar_daemon.domain.card import (
    CARD_MAX,
    Deadline,
    Subject,
    budget_card,
    call_card,
    question_card,
)
from pandar_daemon.domain.harmless import visible
from pandar_daemon.domain.judging import judge
from pandar_daemon.domain.task_execution import card_sha256
from tests.support.calls import HOME, WORKSPACE, command

AT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SUBJECT = Subject(
    task_id=42, task_name="audit", project_id=1, agent="claude", attempt=2, branch="pandar/42"
)
DEADLINE = Deadline(expires_at=AT)


def card_of(call: ToolCall, **more: str) -> Json:
    """Return the card of a call that is judged with all gates."""
    judged = judge(call, Rules(), [], WORKSPACE, HOME)
    return call_card(SUBJECT, call, judged, DEADLINE, **more)


def test_the_card_of_a_command() -> None:
    """It says whose request it is, what exactly runs, why it stops, and what happens then."""
    call = command("git push --force")
    assert card_of(call, intent="I fixed the tests") == {
        "kind": "call",
        "task_id": 42,
        "task_name": "audit",
        "project_id": 1,
        "agent": "claude",
        "attempt": 2,
        "branch": "pandar/42",
        "gate": "git_push_protected",
        "gates": ["git_push_protected"],
        "rule": "git_push_protected.force",
        "severity": "critical",
        "why": "pushes over what is on the remote",
        "tool": "Bash",
        "call_kind": "execute",
        "title": "git push --force",
        "command": "git push --force",
        "cwd": WORKSPACE,
        "call_sha256": call.sha256,
        "intent": "I fixed the tests",
        "blocked": "the task waits; nothing else of it goes on meanwhile",
        "expires_at": "2026-03-02T12:00:00.000000Z",
        "on_timeout": "deny",
        "then": "it counts as denied",
        "approve": "let it do exactly this, once",
        "deny": "refuse; the agent is told why and goes on without it",
        "changes": "refuse; the agent is told what to do instead",
    }


def test_the_card_of_an_edit() -> None:
    """It shows the diff, the files, and the hash of all of the diff."""
    diff = "--- a/.env\n+++ b/.env\n@@ -1 +1 @@\n-A=1\n+A=2\n"
    call = ToolCall(kind=CallKind.EDIT, paths=[".env"], diff=diff, diff_sha256="ab" * 32)
    card = card_of(call)
    assert (card["diff"], card["paths"], card["diff_sha256"]) == (diff, [".env"], "ab" * 32)
    assert "command" not in card


def test_the_card_of_a_tool_shows_its_input() -> None:
    """Of a tool nobody knows, the agent's own JSON is all there is to see."""
    card = card_of(ToolCall(tool="mcp__bank__pay", input='{"amount": 5}'))
    assert (card["input"], card["gate"]) == ('{"amount": 5}', "unclassified")


def test_what_happens_then_is_said() -> None:
    """Each way a deadline can end has its words."""
    said = {
        how: question_card(SUBJECT, "?", [], Deadline(expires_at=AT, on_timeout=how))["then"]
        for how in OnTimeout
    }
    assert said[OnTimeout.CANCEL] == "the task is cancelled"
    assert len(set(said.values())) == len(OnTimeout)


def test_the_card_of_a_question() -> None:
    """It shows the question and the choices there are."""
    card = question_card(SUBJECT, "Which database?", ["sqlite", "postgres"], DEADLINE)
    assert (card["kind"], card["gate"]) == ("question", "question")
    assert (card["question"], card["choices"]) == ("Which database?", ["sqlite", "postgres"])


def test_the_card_of_a_budget() -> None:
    """It shows what was spent and what may be, as texts; what is not known is left out."""
    spent = Usage(cost_usd=5.0, input_tokens=1_000)
    card = budget_card(
        SUBJECT, spent, {"max_cost_usd": 5, "max_tokens": None}, DEADLINE, why="it cost enough"
    )
    assert card["spent"] == {"cost_usd": "5.0000", "input_tokens": "1000"}
    assert (card["limits"], card["gate"]) == ({"max_cost_usd": "5"}, "budget")


VISIBLE = {
    "plain\ttext\n": "plain\ttext\n",
    "grün, 日本語, ✓, 👍": "grün, 日本語, ✓, 👍",
    "a\u202eb": "a⟨U+202E⟩b",
    "\x1b[31m": "⟨U+001B⟩[31m",
    "a\rb": "a⟨U+000D⟩b",
    "a\x00b\x7f": "a⟨U+0000⟩b⟨U+007F⟩",
    "a\u200bb\u200d\u2060\ufeff": "a⟨U+200B⟩b⟨U+200D⟩⟨U+2060⟩⟨U+FEFF⟩",
    "rm\u00a0-rf\u3000x": "rm⟨U+00A0⟩-rf⟨U+3000⟩x",
    "a\u2028b\u2066c\u2069": "a⟨U+2028⟩b⟨U+2066⟩c⟨U+2069⟩",
    "a\u2800\u3164\u115f": "a⟨U+2800⟩⟨U+3164⟩⟨U+115F⟩",
    "a\U000e0041\U000e0100": "a⟨U+E0041⟩⟨U+E0100⟩",
    "a\ue000\ud800": "a⟨U+E000⟩⟨U+D800⟩",
    "⟨U+202E⟩": "⟨U+27E8⟩U+202E⟨U+27E9⟩",
}


@pytest.mark.parametrize("text", VISIBLE)
def test_what_deceives_is_made_visible(text: str) -> None:
    """Characters that show nothing or move others are named; no text can pretend to have one."""
    assert visible(text) == VISIBLE[text]


def test_what_is_cut_says_so() -> None:
    """A text that is too long ends in what is missing, and the card names it."""
    call = command("echo " + "\u202e" * 9_990)
    card = card_of(call)
    assert card["cut"] == ["command"]
    assert card["command"].splitlines()[-1].endswith("characters more")
    assert card_of(command("git push")).get("cut") is None
    many = card_of(ToolCall(kind=CallKind.DELETE, paths=["/x/" + "y" * 900] * 99))
    assert many["paths"][-1] == "… and 94 more"


TEXT = st.text(max_size=200) | st.text(alphabet='\u202e"\\\n\x1b\U0001d518', max_size=10_000)


@given(
    st.builds(
        ToolCall,
        kind=st.sampled_from(CallKind),
        tool=TEXT.map(lambda t: t[:1_000]),
        title=TEXT.map(lambda t: t[:2_000]),
        command=TEXT,
        cwd=TEXT.map(lambda t: t[:1_000]),
        paths=st.lists(TEXT.map(lambda t: t[:1_000]), max_size=100),
        hosts=st.lists(TEXT.map(lambda t: t[:1_000]), max_size=100),
        diff=TEXT.map(lambda t: (t * 4)[:32_768]),
        input=TEXT,
    ).filter(lambda call: not any("\ud800" <= c <= "\udfff" for c in str(call))),
    TEXT,
)
def test_no_round_trip_changes_a_card(call: ToolCall, intent: str) -> None:
    """Whatever it shows, it fits its limit, and has the same hash after it was stored."""
    card = card_of(call, intent=intent)
    stored = msgspec.json.encode(card)
    assert len(stored) <= CARD_MAX
    assert card_sha256(msgspec.json.decode(stored)) == card_sha256(card)
    assert card_sha256(json.loads(json.dumps(card))) == card_sha256(card)
    assert visible(str(card["task_name"])) == card["task_name"]
