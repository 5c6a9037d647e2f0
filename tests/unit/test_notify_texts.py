"""What notifications say."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import msgspec
import pytest

from events import notification as noted
from events import task as did
from events.calls import ToolCall
from events.task import FailureKind, OnTimeout, Status
from pandar_daemon.domain import notify_texts
from pandar_daemon.domain.card import Deadline, Subject, call_card, question_card
from pandar_daemon.domain.judging import judge, rules_of
from tests.support.given import NOW

SUBJECT = Subject(task_id=42, task_name="tidy up", project_id=1, agent="claude")
UNTIL = Deadline(expires_at=NOW + timedelta(days=1))


def asked(card: dict[str, object], then: OnTimeout = OnTimeout.DENY) -> did.ConfirmationRequested:
    """Return a request for a decision on a card."""
    return did.ConfirmationRequested(
        confirmation_id=UUID(int=2),
        execution_id=UUID(int=1),
        gate="git_push_protected",
        card=card,
        card_sha256="0" * 64,
        expires_at=NOW + timedelta(days=1),
        on_timeout=then,
    )


def test_a_request_says_what_is_stuck_and_what_comes_of_waiting() -> None:
    """Gate, the very command, why, what the agent wants, and the deadline."""
    call = ToolCall(command="git push --force origin main")
    judged = judge(call, rules_of("auto_with_gates", ["git_push_protected"]), (), "/w", "/h")
    card = call_card(SUBJECT, call, judged, UNTIL, intent="publish the fix")
    text = notify_texts.asked("tidy up", asked(card))
    assert text.title == "Approval needed: tidy up"
    lines = text.content.split("\n")
    assert lines[0].startswith("Gate: git_push_protected (")
    assert lines[1] == "git push --force origin main"
    assert "The agent says: publish the fix" in lines
    assert lines[-1] == (
        "The task waits. If nobody decides until 2026-03-02 12:00 UTC, it is denied."
    )


@pytest.mark.parametrize(
    ("then", "what"),
    [(OnTimeout.CANCEL, "the task is cancelled"), (OnTimeout.ESCALATE, "asked once more")],
)
def test_what_happens_then(then: OnTimeout, what: str) -> None:
    """The reader knows what comes of not answering."""
    assert what in notify_texts.asked("t", asked({}, then)).content


def test_a_question_is_quoted() -> None:
    """Not the choices, nor what a decision would mean: that is on the page."""
    card = question_card(SUBJECT, "Which branch?", ["a", "b"], UNTIL)
    assert "\nWhich branch?\n" in notify_texts.asked("t", asked(card)).content


@pytest.mark.parametrize(
    "card", [{}, {"command": 7}, {"question": " ", "why": None}, {"call": ["x"]}]
)
def test_a_card_may_hold_anything(card: dict[str, object]) -> None:
    """A card without words leaves gate and deadline."""
    assert len(notify_texts.asked("t", asked(card)).content.split("\n")) == 2


def test_an_escalation_says_it_is_the_last_chance() -> None:
    """The deadline is the new one, and then it is denied."""
    text = notify_texts.escalated("t", asked({}, OnTimeout.ESCALATE), NOW + timedelta(days=2))
    assert text.title == "Still undecided: t"
    assert text.content.endswith("until 2026-03-03 12:00 UTC, it is denied.")


def test_ends_are_told_with_reasons() -> None:
    """How long it took, and what went wrong."""
    done = did.TaskCompleted(
        execution_id=UUID(int=1), exit_code=0, output_tail="", duration_sec=3_725.0
    )
    assert notify_texts.completed("t", done).content == "Exit code 0 after 1 h 2 min."
    bad = did.TaskFailed(
        execution_id=UUID(int=1),
        error="the tests fail",
        kind=FailureKind.AGENT,
        from_status=Status.RUNNING,
        duration_sec=75.0,
    )
    assert notify_texts.failed("t", bad).content == "the tests fail\nKind: agent, after 1 min 15 s."
    short = msgspec.structs.replace(bad, error="", exit_code=3, duration_sec=0.25)
    assert notify_texts.failed("t", short).content == "Kind: agent, exit code 3, after 0.2 s."


def test_an_alert_says_what_to_do() -> None:
    """Whether it is tried again, and how it is whole again."""
    event = noted.ChannelFailed(user="a", channel="slack://ops", sha256="", reason="no token")
    failing, gone = (
        notify_texts.broken(msgspec.structs.replace(event, disabled=disabled))
        for disabled in (False, True)
    )
    assert failing.title == "Channel fails: slack://ops"
    assert "goes on trying" in failing.content
    assert "Nothing is sent to it any more" in gone.content
    assert "save your notification settings" in gone.content


def test_nothing_hides() -> None:
    """Names and errors cannot turn writing round, clear a screen or break a title."""
    text = notify_texts.failed(
        "a\u202eb\x1b[2J\nc",
        did.TaskFailed(
            execution_id=None,
            error="x\u200by\x07",
            kind=FailureKind.AGENT,
            from_status=Status.RUNNING,
        ),
    )
    assert text.title == "Failed: a⟨U+202E⟩b⟨U+001B⟩[2J c"
    assert text.content.startswith("x⟨U+200B⟩y⟨U+0007⟩\n")


def test_what_was_made_visible_stays() -> None:
    """A card's texts are made visible once."""
    assert notify_texts.shown("a⟨U+202E⟩b") == "a⟨U+202E⟩b"


def test_lengths_are_bounded() -> None:
    """However long a name or an error is, and whatever it is made of."""
    for letter in ("x", "\u202e"):
        text = notify_texts.asked(
            letter * 9_000, asked(dict.fromkeys(("command", "why", "intent"), letter * 9_000))
        )
        assert len(text.title) <= 255
        assert len(text.content) <= 4_000
        assert text.title.endswith("…")


def test_several_share_a_title() -> None:
    """The first names it; a digest names none."""
    assert notify_texts.together(["a"], digest=False) == "a"
    assert notify_texts.together(["a", "b", "c"], digest=False) == "a (and 2 more)"
    assert notify_texts.together(["a", "b"], digest=True) == "2 notifications"
    assert notify_texts.reminding("a", 0) == "a"
    assert notify_texts.reminding("a", 2) == "Reminder: a"
