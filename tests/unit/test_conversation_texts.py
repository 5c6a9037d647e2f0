"""What is said to an agent, and what a task shows of a conversation."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from events.calls import CallKind, ToolCall
from events.commands import Decision
from events.running import Decided, Resume
from pandar_daemon.domain import conversation_texts as texts
from pandar_daemon.domain import hearing as heard
from tests.support.calls import change, command
from tests.support.talks import PUSH, TERMS, confirmation, decided, denied, resume

CHANGES = decided(Decision.CHANGES, "push to a branch")
EXPIRED = decided(Decision.DENY, expired=True)


def opening(of: Resume | None = None, *, loaded: bool = True, context: str = "") -> str:
    """Return the first thing that is said."""
    return texts.opening(replace(TERMS, resume=of, context=context), loaded=loaded)


def test_the_task_is_said_as_it_was_filed() -> None:
    """With its context, if it has one."""
    assert opening() == "tidy up"
    assert opening(context="mind the tests") == "tidy up\n\nContext:\nmind the tests"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            decided(),
            (
                "Your request was approved:\n\ngit push origin main\n\n"
                "Do exactly this, unchanged, and go on."
            ),
        ),
        (
            denied(),
            (
                "Your request was denied:\n\ngit push origin main\n\n"
                "Do not do it. Go on with the task without it."
            ),
        ),
        (
            denied("not now"),
            (
                "Your request was denied (not now):\n\ngit push origin main\n\n"
                "Do not do it. Go on with the task without it."
            ),
        ),
        (
            CHANGES,
            (
                "Your request was not approved. Instead: push to a branch\n\n"
                "The request was:\n\ngit push origin main\n\n"
                "Do not do it. Go on with the task without it."
            ),
        ),
        (
            EXPIRED,
            (
                "Nobody decided on your request in time, so it counts as denied"
                ":\n\ngit push origin main\n\nDo not do it. Go on with the task without it."
            ),
        ),
    ],
)
def test_what_was_decided_is_said_to_who_remembers(answer: Decided, said: str) -> None:
    """A session that was loaded hears the decision, and what it is about."""
    assert opening(resume(answer)) == said


def test_a_decision_without_words_for_its_subject() -> None:
    """There may be nothing to quote."""
    assert opening(resume(decided(), what="")).startswith("Your request was approved. Do exactly")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (decided(reason="main"), "Your question was answered: main\n\nGo on with the task."),
        (decided(), "Your question was answered: yes\n\nGo on with the task."),
        (denied(), "Your question was answered: no\n\nGo on with the task."),
        (EXPIRED, "Your question was answered: nobody answered in time\n\nGo on with the task."),
    ],
)
def test_an_answer_is_said(answer: Decided, said: str) -> None:
    """In the words of who gave it, else in ours."""
    assert opening(resume(answer, gate="question", call_sha256="")) == said


def test_more_money_is_said() -> None:
    """With what somebody had to say about it."""
    said = opening(resume(decided(reason="be quick"), gate="budget", call_sha256=""))
    assert said == "You may go on where you stopped. be quick"


def test_an_interruption_is_said() -> None:
    """Nobody decided anything."""
    said = "You were interrupted. Look at where you are, and go on with the task."
    assert opening(resume()) == said


def test_who_remembers_nothing_is_told_all() -> None:
    """The task, how it ended before, and what was decided."""
    said = opening(resume(denied()), loaded=False).split("\n\n")
    assert said[0] == "tidy up"
    assert said[1] == (
        "An earlier attempt was interrupted; the files are as it left them. "
        "It ended like this:\n---\nthe end of what it said\n---"
    )
    assert said[2].startswith("Your request was denied")


def test_a_summary_is_the_end_of_what_was_said() -> None:
    """Not more than an agent needs; without one nothing is made up."""
    long = opening(resume(summary="x" * 10_000 + "the end"), loaded=False)
    assert "the end" in long
    assert len(long) < 4_300
    none = opening(Resume(session_id="s-1"), loaded=False)
    assert none.endswith("the files are as it left them.")


# --- in the same process ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            denied("not now"),
            (
                "This was denied: git push origin main\nReason: not now\n"
                "Go on with the task without it."
            ),
        ),
        (
            denied(),
            (
                "This was denied: git push origin main\nReason: no reason was given\n"
                "Go on with the task without it."
            ),
        ),
        (
            EXPIRED,
            (
                "This was denied: git push origin main\nReason: nobody decided in time\n"
                "Go on with the task without it."
            ),
        ),
        (
            CHANGES,
            (
                "This was not approved: git push origin main\nInstead: push to a branch\n"
                "Go on with the task."
            ),
        ),
    ],
)
def test_a_refusal_says_what_and_why(answer: Decided, said: str) -> None:
    """Somebody's words, else ours."""
    assert texts.refusal(PUSH, answer) == said


def test_what_is_no_command_is_called_by_its_title() -> None:
    """As the agent named it."""
    edit = replace(change(CallKind.EDIT, "/srv/site/a"), title="Edit a")
    assert texts.refusal(edit, denied()).startswith("This was denied: Edit a\n")
    assert texts.refused_by_rule(edit, "for good reason") == (
        "This is not allowed: Edit a\nReason: for good reason\nGo on with the task without it."
    )


def test_a_question_that_is_not_answered_says_why() -> None:
    """So that the agent does not ask it again."""
    said = texts.declined("which branch?", denied("decide yourself"))
    assert said == (
        "Your question was denied: which branch?\nReason: decide yourself\nGo on with the task."
    )


# --- what is recorded ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "fields", "text"),
    [
        (denied("no"), {}, "no"),
        (CHANGES, {}, "push to a branch"),
        (EXPIRED, {}, "nobody answered in time"),
        (decided(), {"call_sha256": ""}, "yes"),
    ],
)
def test_what_an_opening_tells_is_recorded(
    answer: Decided, fields: dict[str, object], text: str
) -> None:
    """Once, with whoever decided it."""
    (reply,) = texts.heard_of(resume(answer, **fields))
    assert (reply.request_id, reply.text) == ("", text)
    assert reply.by == ("nobody" if answer.expired else "ann")


def test_what_is_heard_later_is_recorded_later() -> None:
    """An approval when it is used, and an interruption never."""
    assert texts.heard_of(resume(decided())) == []
    assert texts.heard_of(resume()) == []
    assert texts.heard_of(None) == []


def test_what_has_no_words_is_called_by_its_gate() -> None:
    """A record is never about nothing."""
    (reply,) = texts.heard_of(resume(decided(), gate="budget", what="", call_sha256=""))
    assert reply.question == "budget"


@pytest.mark.parametrize("text", ["", "x", "0195512a-7c00-7000-8000", "\x00"])
def test_what_is_no_id_is_none(text: str) -> None:
    """Nothing an allowance is named by can break a conversation."""
    assert texts.uuid_of(text) is None
    assert texts.uuid_of(str(confirmation(1))) == confirmation(1)


# --- what is shown ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (command("make"), "\n» execute: make\n"),
        (ToolCall(kind=CallKind.READ, title="Read a"), "\n» read: Read a\n"),
        (ToolCall(kind=CallKind.OTHER, tool="mcp"), "\n» other: mcp\n"),
        (ToolCall(), ""),
    ],
)
@pytest.mark.parametrize("status", [heard.CallStatus.PENDING, heard.CallStatus.RUNNING])
def test_a_call_is_shown_by_what_is_known_of_it(
    call: ToolCall, line: str, status: heard.CallStatus
) -> None:
    """Its command, else its title, else its tool."""
    assert texts.call_line(heard.Called(call_id="c", call=call, status=status)) == line


@pytest.mark.parametrize(
    ("status", "output", "line"),
    [
        (heard.CallStatus.DONE, "ok\n\n\n", "ok\n"),
        (heard.CallStatus.DONE, "", ""),
        (heard.CallStatus.FAILED, "no", "no\n(failed)\n"),
        (heard.CallStatus.FAILED, "\n", "(failed)\n"),
    ],
)
def test_what_came_of_a_call_is_shown(status: heard.CallStatus, output: str, line: str) -> None:
    """Its output, and whether it failed."""
    called = heard.Called(call_id="c", call=PUSH, status=status, output=output)
    assert texts.call_line(called) == line


def test_what_an_agent_is_told_is_shown_as_such() -> None:
    """Line by line, apart from what it says itself."""
    assert texts.quoted("This was denied\n\nReason: no") == (
        "\n« This was denied\n«\n« Reason: no\n"
    )
