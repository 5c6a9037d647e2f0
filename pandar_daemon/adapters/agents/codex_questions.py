"""What Codex asks in its own protocol, and how each is answered."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from events.calls import Verdict
from pandar_daemon.adapters.agents.asking import Consent, Open, Question
from pandar_daemon.adapters.agents.forms import Form, form
from pandar_daemon.adapters.agents.jsonrpc import Params
from pandar_daemon.adapters.agents.shapes import items, mapping, text

_DECISIONS: Final = {Verdict.ALLOW: "accept", Verdict.DENY: "decline", Verdict.ASK: "cancel"}


class Approval(Struct, frozen=True):
    """Wants to run a command or to change files; a denial lets the turn go on."""

    def answer(self, verdict: Verdict, words: str) -> Params:  # noqa: ARG002 - they are steered in
        """Return the decision, never one for the session."""
        return {"decision": _DECISIONS[verdict]}


class Permissions(Struct, frozen=True):
    """Wants wider permissions until the end of the turn."""

    wanted: Params

    def answer(self, verdict: Verdict, words: str) -> Params:  # noqa: ARG002 - as above
        """Return what is granted: all of it, or nothing."""
        granted = self.wanted if verdict is Verdict.ALLOW else {}
        return {"permissions": granted, "scope": "turn"}


class Questions(Struct, frozen=True):
    """Questions for the user, as a form."""

    form: Form

    def answer(self, verdict: Verdict, words: str) -> Params:
        """Return an answer to each, none when nobody answers."""
        if verdict is not Verdict.ALLOW or not words.strip():
            return {"answers": {}}
        filled = self.form.filled(words)
        return {"answers": {name: {"answers": [str(value)]} for name, value in filled.items()}}


def questions(params: Params) -> Questions:
    """Return what ``item/tool/requestUserInput`` asks."""
    asked = [mapping(each) for each in items(params.get("questions"))]
    fields = {text(each.get("id")): _field(each) for each in asked}
    title = "" if len(asked) == 1 else "Please answer these questions."
    return Questions(form({"message": title, "requestedSchema": {"properties": fields}}))


def _field(question: Params) -> Params:
    labels = [text(mapping(each).get("label")) for each in items(question.get("options"))]
    return {"type": "string", "title": text(question.get("question")), "enum": labels}


def elicitation(params: Params) -> Open | None:
    """Return what an MCP server asks through Codex; ``None`` for what is no form."""
    if params.get("mode") not in ("form", "openai/form", "openaiForm"):
        return None
    asked = form(params)
    return Question(asked) if asked.fields else Consent()
