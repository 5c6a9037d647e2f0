"""Questions agents ask as forms, and answers put into them.

A form with nothing to fill in asks for consent, so it is a permission and no question. A text
answers a form of one question; of several, line by line when there are as many lines, else it is
the answer to each.
"""

from __future__ import annotations

from math import isfinite
from typing import Final

from msgspec import Struct

from pandar_daemon.adapters.agents.jsonrpc import Params
from pandar_daemon.adapters.agents.shapes import cut, items, mapping, text

CHOICES_MAX: Final = 50
CHOICE_MAX: Final = 500
TEXT_MAX: Final = 10_000
FIELDS_MAX: Final = 50
_YES: Final = frozenset({"yes", "y", "true", "on", "1", "ok"})


class Field(Struct, frozen=True, kw_only=True):
    """One member of a form. ``note`` names the one where a free answer beside the choices goes."""

    name: str
    kind: str
    title: str = ""
    choices: dict[str, str] = {}
    note: str = ""


class Form(Struct, frozen=True):
    """What is asked; the fields are one a question."""

    message: str
    fields: list[Field]

    @property
    def question(self) -> str:
        """Return all of it as text."""
        asked = [f"{n}. {_asked(each)}" for n, each in enumerate(self.fields, 1)]
        if len(self.fields) == 1:
            asked = [_asked(self.fields[0])] if self.fields[0].title not in self.message else []
        return cut("\n".join(filter(None, [self.message, *asked])), TEXT_MAX)

    @property
    def choices(self) -> list[str]:
        """Return the choices of the only question; none when there are several."""
        if len(self.fields) != 1:
            return []
        known = ["yes", "no"] if self.fields[0].kind == "boolean" else self.fields[0].choices
        return [cut(each, CHOICE_MAX) for each in list(known)[:CHOICES_MAX]]

    def filled(self, answer: str) -> Params:
        """Return the content for an answer in words."""
        lines = [line.strip() for line in answer.splitlines() if line.strip()]
        each = lines if len(lines) == len(self.fields) > 1 else [answer.strip()] * len(self.fields)
        content: Params = {}
        for field, words in zip(self.fields, each, strict=True):
            content |= _filled(field, words)
        return content


def _asked(field: Field) -> str:
    options = f" ({' | '.join(field.choices)})" if field.choices else ""
    return f"{field.title or field.name}{options}"


def form(params: Params) -> Form:
    """Return what a request asks; unreadable parts of it are left out."""
    schema = mapping(params.get("requestedSchema"))
    named = list(mapping(schema.get("properties")).items())[:FIELDS_MAX]
    fields: list[Field] = []
    for name, value in named:
        if isinstance(name, str):
            _add(fields, name, mapping(value))
    return Form(text(params.get("message")), fields)


def _add(fields: list[Field], name: str, schema: Params) -> None:
    """Add a question; a free text named like the choices before it is the place for a note."""
    choices = _choices(schema)
    before = fields[-1] if fields else None
    if before and before.choices and not choices and name.startswith(before.name):
        fields[-1] = Field(
            name=before.name,
            kind=before.kind,
            title=before.title,
            choices=before.choices,
            note=name,
        )
        return
    title = text(schema.get("description")) or text(schema.get("title"))
    fields.append(Field(name=name, kind=text(schema.get("type")), title=title, choices=choices))


def _choices(schema: Params) -> dict[str, str]:
    """Return what is shown for each choice, and what stands for it on the wire."""
    inner = mapping(schema.get("items"))
    plain = items(schema.get("enum")) or items(inner.get("enum"))
    titled = items(schema.get("oneOf")) or items(inner.get("anyOf"))
    pairs = [(text(each), text(each)) for each in plain]
    pairs += [(_title(each), text(each.get("const"))) for each in map(mapping, titled)]
    return {shown: value for shown, value in pairs if shown}


def _title(choice: Params) -> str:
    return text(choice.get("title")) or text(choice.get("const"))


def _filled(field: Field, words: str) -> Params:
    if field.choices:
        return _chosen(field, words)
    if field.kind == "boolean":
        return {field.name: words.lower() in _YES}
    if field.kind in ("number", "integer"):
        return _number(field, words)
    return {field.name: [words] if field.kind == "array" else words}


def _chosen(field: Field, words: str) -> Params:
    """Return the choice in these words; other words are a note, or stand as they are."""
    folded = {shown.casefold(): value for shown, value in field.choices.items()}
    found = folded.get(words.casefold())
    if found is None and field.note:
        return {field.note: words}
    value = words if found is None else found
    return {field.name: [value] if field.kind == "array" else value}


def _number(field: Field, words: str) -> Params:
    try:
        number = float(words)
    except ValueError:
        return {}
    if not isfinite(number):
        return {}
    return {field.name: int(number) if field.kind == "integer" else number}


def consent(params: Params) -> Params:
    """Return a form with nothing to fill in as a call somebody may allow."""
    message = text(params.get("message"))
    named = {"toolCallId": params["toolCallId"]} if params.get("toolCallId") else {}
    return {**named, "title": message, "rawInput": {"message": message}}
