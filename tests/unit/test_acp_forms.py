"""Questions as forms, and words as their answers."""

from __future__ import annotations

from typing import Any

import pytest

from pandar_daemon.adapters.agents.forms import consent, form

Json = dict[str, Any]
CHOICES = [
    {"const": "pg", "title": "Postgres", "description": "a server"},
    {"const": "lite", "title": "SQLite"},
]
CLAUDE: Json = {
    "question_0": {"type": "string", "title": "DB", "oneOf": CHOICES},
    "question_0_custom": {"type": "string", "title": "Other"},
}
MANY: Json = {
    "question_0": {"type": "array", "description": "Which?", "items": {"anyOf": CHOICES}},
    "question_0_custom": {"type": "string", "title": "Other"},
    "question_1": {"type": "string", "description": "Why?"},
}


def asked(message: str, properties: Json) -> Json:
    """Return the parameters of a question."""
    return {"message": message, "requestedSchema": {"type": "object", "properties": properties}}


@pytest.mark.parametrize(
    ("words", "content"),
    [
        ("Postgres", {"question_0": "pg"}),
        ("postgres ", {"question_0": "pg"}),
        ("MySQL, please", {"question_0_custom": "MySQL, please"}),
    ],
)
def test_a_choice_or_a_note(words: str, content: Json) -> None:
    """The words of a choice choose it; others go where the form has a place for them."""
    found = form(asked("Which database?", CLAUDE))
    assert found.choices == ["Postgres", "SQLite"]
    assert found.question == "Which database?\nDB (Postgres | SQLite)"
    assert found.filled(words) == content


def test_several_questions() -> None:
    """Each line answers one question when there are as many; else all of it answers each."""
    found = form(asked("Please answer.", MANY))
    assert found.question == ("Please answer.\n1. Which? (Postgres | SQLite)\n2. Why?")
    assert found.choices == []
    assert found.filled("sqlite\n\n it is small ") == {
        "question_0": ["lite"],
        "question_1": "it is small",
    }
    assert found.filled("as you like") == {
        "question_0_custom": "as you like",
        "question_1": "as you like",
    }


@pytest.mark.parametrize(
    ("schema", "words", "content"),
    [
        ({"type": "boolean"}, "Yes", {"x": True}),
        ({"type": "boolean"}, "never", {"x": False}),
        ({"type": "integer"}, "42", {"x": 42}),
        ({"type": "number"}, "0.5", {"x": 0.5}),
        ({"type": "number"}, "many", {}),
        ({"type": "integer"}, "inf", {}),
        ({"type": "string"}, "text", {"x": "text"}),
        ({"type": "array"}, "text", {"x": ["text"]}),
        ({"type": "string", "enum": ["a", "b"]}, "B", {"x": "b"}),
        ({"type": "string", "enum": ["a", "b"]}, "c", {"x": "c"}),
        ({}, "text", {"x": "text"}),
    ],
)
def test_kinds_of_fields(schema: Json, words: str, content: Json) -> None:
    """Words become what a field holds; what cannot is left out."""
    assert form(asked("?", {"x": schema})).filled(words) == content


def test_a_yes_or_no_has_choices() -> None:
    """Whoever answers sees what can be answered."""
    assert form(asked("Sure?", {"x": {"type": "boolean"}})).choices == ["yes", "no"]


@pytest.mark.parametrize("schema", [None, 3, {}, {"properties": 3}, {"properties": {}}])
def test_nothing_to_fill_in(schema: object) -> None:
    """A form without fields, or one that is none, has none."""
    found = form({"message": "Deploy?", "requestedSchema": schema})
    assert (found.question, found.fields) == ("Deploy?", [])


@pytest.mark.parametrize("strange", [None, 3, [], {"oneOf": [1, {}]}, {"enum": 7, "items": 3}])
def test_takes_any_shape(strange: object) -> None:
    """A field of any shape is a question."""
    found = form(asked("?", {"x": strange}))
    assert len(found.fields) == 1
    assert found.filled("y") == {"x": "y"}


def test_consent_is_about_its_message() -> None:
    """A form with nothing to fill in is known by what it says."""
    told = consent({"message": "Deploy?", "toolCallId": "c", "_meta": {"x": 1}})
    assert told == {"toolCallId": "c", "title": "Deploy?", "rawInput": {"message": "Deploy?"}}
    assert "toolCallId" not in consent({"message": "Deploy?"})
