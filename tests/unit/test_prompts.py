"""When a terminal asks, and what a decision types on it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.commands import Decision
from events.running import Assignment, Decided
from pandar_daemon.domain.prompts import MUTE_SEC, QUIET_SEC, Prompts, reply
from pandar_daemon.domain.proxy_texts import UNKNOWN, answer_in, proxy_prompt
from tests.support.stories import execution


def after(*shown: bytes, sec: float = QUIET_SEC, is_read: bool = False) -> str | None:
    """Return what a terminal asks that showed this, so many seconds later."""
    prompts = Prompts()
    for data in shown:
        prompts.feed(data, 100.0)
    return prompts.question(100.0 + sec, is_read=is_read)


@pytest.mark.parametrize(
    "line",
    [
        "Continue? [y/N] ",
        "Overwrite it? (yes/no) ",
        "Password: ",
        "Enter passphrase for key 'id': ",
        "Delete everything?",
        "\x1b[1mProceed (Y/n)?\x1b[0m ",
    ],
)
def test_a_question_is_known_by_its_words(line: str) -> None:
    """Also where nobody tells whether somebody reads the keyboard."""
    assert after(line.encode()) is not None


@pytest.mark.parametrize("line", ["Name: ", "> ", "colour", "100%"])
def test_any_begun_line_asks_when_the_keyboard_is_read(line: str) -> None:
    """The kernel knows; the words alone would not do."""
    assert after(line.encode()) is None
    assert after(line.encode(), is_read=True) == line.strip()


@pytest.mark.parametrize("shown", ["Continue? [y/N] y\n", "Compiling…\n", "", "Is it ready?\n"])
def test_what_ended_its_line_asks_nothing(shown: str) -> None:
    """A line that was ended is a message, whatever it says."""
    assert after(shown.encode()) is None


def test_it_must_be_quiet_first() -> None:
    """A program that pauses in the middle of a line is given the time to go on."""
    assert after(b"Continue? [y/N] ", sec=QUIET_SEC - 0.01) is None
    assert after(b"Continue? [y/N] ", sec=QUIET_SEC) is not None


def test_a_question_is_asked_once() -> None:
    """Until something new is shown, it is the same question."""
    prompts = Prompts()
    prompts.feed(b"Continue? [y/N] ", 0.0)
    assert prompts.question(5.0, is_read=True) is not None
    assert prompts.question(9.0, is_read=True) is None
    prompts.feed(b"no\r\nContinue? [y/N] ", 10.0)
    assert prompts.question(15.0, is_read=True) is not None


def test_who_reads_without_a_prompt_is_found_too() -> None:
    """After a longer silence, and only if somebody is known to read."""
    assert after(b"working\n", sec=MUTE_SEC - 0.01, is_read=True) is None
    assert after(b"working\n", sec=MUTE_SEC, is_read=True) == "working"
    assert after(b"\n", sec=MUTE_SEC, is_read=True) is not None
    assert after(b"working\n", sec=MUTE_SEC * 9, is_read=False) is None


def test_the_lines_before_belong_to_the_question() -> None:
    """People see what it is about, without escapes, and not the whole output."""
    text = after(b"".join(b"line %d\n" % n for n in range(50)) + b"\x1b[31mReally?\x1b[0m ")
    assert text is not None
    assert text.splitlines()[0] == "line 45"
    assert text.endswith("Really?")


@given(st.lists(st.binary(max_size=40), max_size=12), st.floats(0, 100), st.booleans())
def test_no_bytes_break_it(pieces: list[bytes], sec: float, is_read: bool) -> None:
    """Whatever a program writes."""
    after(*pieces, sec=sec, is_read=is_read)


@pytest.mark.parametrize(
    ("decision", "reason", "typed"),
    [
        (Decision.APPROVE, "", b"y\r"),
        (Decision.APPROVE, "blue", b"blue\r"),
        (Decision.CHANGES, "green", b"green\r"),
        (Decision.DENY, "", b"n\r"),
        (Decision.DENY, "because", b"n\r"),
    ],
)
def test_what_is_typed(decision: Decision, reason: str, typed: bytes) -> None:
    """A text is typed as it is; without one, yes or no."""
    assert reply("Sure? [y/N]", Decided(decision=decision, reason=reason)) == typed


def test_a_denied_text_interrupts() -> None:
    """No is no answer to `Name:`."""
    assert reply("Name:", Decided(decision=Decision.DENY)) == b"\x03"


def test_a_proxy_agent_is_told_what_it_is_about() -> None:
    """Task, context and question are in its prompt."""
    assignment = Assignment(
        task_id=1,
        project_id=1,
        execution_id=execution(1),
        epoch=1,
        attempt=1,
        command="make",
        name="n",
        metadata={"context": {"branch": "main"}},
    )
    text = proxy_prompt(assignment, "Sure?")
    assert "make" in text
    assert '"branch":"main"' in text
    assert text.endswith("Sure?")


@pytest.mark.parametrize("said", ["", "  \n", UNKNOWN, f"Well. {UNKNOWN.lower()}."])
def test_who_does_not_know_gave_no_answer(said: str) -> None:
    """Then people are asked."""
    assert answer_in(said) is None


def test_an_answer_is_one_line() -> None:
    """More lines would answer questions nobody asked."""
    assert answer_in("\n blue \nand more") == "blue"
