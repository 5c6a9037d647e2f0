"""Questions and consents in a conversation with an ACP agent."""

from __future__ import annotations

import pytest

from events.calls import CallKind, Verdict
from pandar_daemon.domain.hearing import Asked, Questioned
from tests.support.acp_lines import SESSION, heard, line, messages, prompted

FORM = {
    "type": "object",
    "properties": {"db": {"type": "string", "title": "Which database?", "enum": ["pg", "my"]}},
}


def asks_form(**fields: object) -> bytes:
    """Return a request to fill in a form."""
    return line(id=5, method="elicitation/create", params={"sessionId": SESSION, **fields})


def test_hears_a_question() -> None:
    """A form is a question; its answer is put into it."""
    made = prompted()
    told = heard(made, asks_form(message="Which database?", requestedSchema=FORM))
    assert told == [Questioned(request_id="5", text="Which database?", choices=["pg", "my"])]
    (message,) = messages(made.answer("5", Verdict.ALLOW, "PG"))
    assert message["result"] == {"action": "accept", "content": {"db": "pg"}}


@pytest.mark.parametrize(
    ("verdict", "words", "action"),
    [(Verdict.DENY, "no", "decline"), (Verdict.ALLOW, " ", "decline"), (Verdict.ASK, "", "cancel")],
)
def test_leaves_a_question_unanswered(verdict: Verdict, words: str, action: str) -> None:
    """A question can be declined, or given up."""
    made = prompted()
    made.receive(asks_form(message="Which?", requestedSchema=FORM))
    assert messages(made.answer("5", verdict, words))[0]["result"] == {"action": action}


@pytest.mark.parametrize(
    ("verdict", "result"),
    [
        (Verdict.ALLOW, {"action": "accept", "content": {}}),
        (Verdict.DENY, {"action": "decline"}),
        (Verdict.ASK, {"action": "cancel"}),
    ],
)
def test_a_form_with_nothing_to_fill_in_is_a_permission(
    verdict: Verdict, result: dict[str, object]
) -> None:
    """Only somebody who may decide says yes to it, and no proxy."""
    made = prompted()
    (asked,) = heard(made, asks_form(message="Deploy?", requestedSchema={"type": "object"}))
    assert isinstance(asked, Asked)
    assert (asked.call.title, asked.call.kind) == ("Deploy?", CallKind.OTHER)
    assert messages(made.answer("5", verdict))[0]["result"] == result
