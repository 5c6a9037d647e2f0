"""One hostile specimen through every door: what comes out moves, hides and pretends nothing."""

from __future__ import annotations

import io
import json
import unicodedata
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from events import task as did
from events.calls import CallKind, Rules, ToolCall
from events.confinement import Confines
from events.notification import NotificationType
from events.problem import FieldError, Problem
from pandar_daemon.adapters.channels import mail, slack, webhook
from pandar_daemon.adapters.http.pages.html import el
from pandar_daemon.cli import output
from pandar_daemon.cli.harmless import OutputFilter, harmless
from pandar_daemon.cli.harmless import one_line as terminal_line
from pandar_daemon.cli.look import Look
from pandar_daemon.cli.output import error_text
from pandar_daemon.domain import notify_texts
from pandar_daemon.domain.harmless import (
    MARKS_MAX,
    deceives,
    in_json,
    one_line,
    still_visible,
    visible,
)
from pandar_daemon.domain.narrowing import narrow_by
from pandar_daemon.ports import Item, Notice
from pandar_daemon.telemetry import configure_logs
from pandar_daemon.telemetry.logs import TEXT_MAX
from tests.support.given import NOW
from tests.unit.test_card import card_of

SPECIMEN = (
    "git push\x1b[2J\x1b]0;owned\x07\x1b]52;c;cm0=\x1b\\\x1b]8;;https://evil\x1b\\link\x1b]8;;\x1b\\"
    "\r origin \u202emain\u202c \u2066safe\u2069 a\u200bd\u00admi\u2060n\ufeff \x9b31m\x9d0;x\x9c"
    "\U000e0041\U000e007f Z"
    + "\u0335\u0336\u0489" * 40
    + "\u3164\u115f\u2028next\u2029\x00\x7f\x08"
)
MARKS = {"Mn", "Me"}


def is_harmless(text: str, *, newlines: bool = True) -> bool:
    """Return whether a text can be shown anywhere."""
    pile = 0
    for character in text:
        pile = pile + 1 if unicodedata.category(character) in MARKS else 0
        if pile > MARKS_MAX or (character == "\n" and not newlines):
            return False
        if character not in "⟨⟩" and deceives(character):
            return False
    return True


def _card() -> did.ConfirmationRequested:
    return did.ConfirmationRequested(
        confirmation_id=UUID(int=1),
        execution_id=UUID(int=2),
        gate=SPECIMEN,
        card={"command": SPECIMEN, "why": SPECIMEN, "intent": SPECIMEN, "severity": SPECIMEN},
        card_sha256="",
        expires_at=NOW,
    )


def _notice() -> Notice:
    text = notify_texts.asked(SPECIMEN, _card())
    item = Item(
        notification_id=UUID(int=3),
        kind=NotificationType.CONFIRMATION_REQUIRED,
        title=text.title,
        content=text.content,
        at=NOW,
        url="https://pandar.example.org/a/x",
        task_id=7,
        project_id=1,
        confirmation_id=UUID(int=1),
        expires_at=NOW + timedelta(hours=1),
    )
    title = notify_texts.together([text.title, text.title], digest=False)
    return Notice(message_id=UUID(int=4), user="7", title=title, items=(item, item))


def _failure() -> str:
    error = did.TaskFailed(
        execution_id=None,
        error=SPECIMEN,
        kind=did.FailureKind.AGENT,
        from_status=did.Status.RUNNING,
    )
    text = notify_texts.failed(SPECIMEN, error)
    return text.title + text.content


def _mail() -> str:
    message = mail.message(_notice(), "pandar@example.org", "ann@example.org")
    parts = [part.get_content() for part in message.iter_parts()]
    return "".join([message["Subject"], *parts])


def _texts(document: object) -> str:
    """Return every text in a JSON document."""
    if isinstance(document, dict):
        return "\n".join(map(_texts, document.values()))
    if isinstance(document, list):
        return "\n".join(map(_texts, document))
    return document if isinstance(document, str) else ""


def _logged(*, pretty: bool) -> str:
    stream = io.StringIO()
    configure_logs(stream, pretty=pretty)
    log = structlog.get_logger("test")
    log.warning(SPECIMEN.replace("\n", ""), name=SPECIMEN, several=[SPECIMEN], deep={"a": SPECIMEN})
    return stream.getvalue()


def _error() -> str:
    problem = Problem(
        type="urn:x",
        title=SPECIMEN,
        status=422,
        detail=SPECIMEN,
        errors=[FieldError(field=SPECIMEN, rule=SPECIMEN)],
    )
    return error_text(output.Refused(problem), Look(colour=False, width=80))


def _narrowed() -> str:
    found = narrow_by(
        Rules(),
        Confines(hosts=["a.org"]),
        {SPECIMEN: 1, "stop_at": [SPECIMEN], "hosts": [SPECIMEN]},
    )
    return "\n".join([*found.changes, *found.refused])


def _call() -> str:
    call = ToolCall(kind=CallKind.EXECUTE, command=SPECIMEN, title=SPECIMEN)
    return _texts(card_of(call, intent=SPECIMEN))


DOORS: dict[str, Callable[[], str]] = {
    "terminal": lambda: harmless(SPECIMEN),
    "row of a table": lambda: terminal_line(SPECIMEN),
    "error on the terminal": _error,
    "json on the terminal": lambda: in_json(json.dumps({"a": SPECIMEN}, ensure_ascii=False)),
    "page": lambda: el("p", SPECIMEN, title=SPECIMEN),
    "card": _call,
    "failure": _failure,
    "mail": _mail,
    "slack": lambda: _texts(slack.message(_notice())),
    "webhook": lambda: _texts(webhook.payload(_notice())),
    "pretty log": lambda: _logged(pretty=True),
    "log": lambda: _logged(pretty=False),
    "what a repository's file did": _narrowed,
    "one line": lambda: one_line(SPECIMEN, 100),
}


@pytest.mark.parametrize("door", DOORS)
def test_nothing_hostile_comes_out(door: str) -> None:
    """Neither moves the cursor, nor turns or hides text, nor piles marks on a letter."""
    shown = DOORS[door]()
    assert shown
    assert is_harmless(shown), ascii(shown)


def test_no_value_of_a_log_pretends_to_be_the_next_line() -> None:
    """A line break is shown as such; a value without end is cut, and says so."""
    stream = io.StringIO()
    configure_logs(stream, pretty=True)
    log = structlog.get_logger("test")
    log.warning("a\n2026-01-01 [info] forged", name="b\nforged", long="x" * (TEXT_MAX + 7))
    (line,) = stream.getvalue().splitlines()
    assert "7 characters more" in line


def test_a_json_document_means_the_same_after_it_was_made_harmless() -> None:
    """Only how it is written changes."""
    document = {"a": [SPECIMEN, "é€😀", "⟨x⟩"], SPECIMEN: 1}
    written = in_json(json.dumps(document, ensure_ascii=False))
    assert json.loads(written) == document
    assert "é€😀" in written


@given(st.text())
def test_whatever_text_can_be_shown(text: str) -> None:
    """In each way, and as often as you like."""
    for show in (visible, still_visible, harmless):
        assert is_harmless(show(text).replace("\xa0", "")) or show is harmless
    assert still_visible(still_visible(text)) == still_visible(text)
    assert "\n" not in one_line(text, 20)
    assert len(one_line(text, 20)) <= 20
    assert harmless(harmless(text)) == harmless(text)


@given(st.lists(st.sampled_from([SPECIMEN, "a" + "\u0301" * 9, "e\u0301", "\u0301"])), st.data())
def test_chunks_make_no_difference_to_marks(parts: list[str], data: st.DataObject) -> None:
    """A pile that is cut is a pile."""
    whole = "".join(parts).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    shown = OutputFilter(colour=False)
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert "".join(map(shown.feed, pieces)) + shown.close() == harmless(whole.decode())
