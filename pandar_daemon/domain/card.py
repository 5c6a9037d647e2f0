"""Cards: what somebody sees before they decide, and all of what their decision is about.

A card is JSON of texts, whole numbers and lists of them: it has the same hash
(`task_execution.card_sha256`) after any round trip. What could deceive a reader is made visible;
what had to be cut says so. At most `CARD_MAX` bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from events.calls import Severity, ToolCall
from events.instant import text as rfc3339
from events.task import Json, OnTimeout, Usage
from pandar_daemon.domain.gate_moves import described
from pandar_daemon.domain.harmless import visible
from pandar_daemon.domain.judging import Judgement

CARD_MAX: Final = 65_536
"""Bytes of a card as JSON."""
_LONG_MAX: Final = 20_000  # bytes each of command, diff and a question
_TEXT_MAX: Final = 1_500
_LIST_MAX: Final = 5_000


class Subject(Struct, frozen=True, kw_only=True):
    """Whose request it is."""

    task_id: int
    task_name: str
    project_id: int
    agent: str = ""
    attempt: int = 1
    branch: str = ""


class Deadline(Struct, frozen=True, kw_only=True):
    """When nobody's decision counts any more, and what happens then."""

    expires_at: datetime
    on_timeout: OnTimeout = OnTimeout.DENY


_THEN: Final[Mapping[OnTimeout, str]] = {
    OnTimeout.DENY: "it counts as denied",
    OnTimeout.CANCEL: "the task is cancelled",
    OnTimeout.ESCALATE: "others are asked too, once; then it counts as denied",
}


def call_card(
    subject: Subject,
    call: ToolCall,
    judged: Judgement,
    deadline: Deadline,
    *,
    intent: str = "",
    blocked: str = "",
) -> Json:
    """Return the card of a tool call that stops at a gate."""
    long, cut = _long({"command": call.command, "diff": call.diff, "input": _input(call)})
    return _stated(
        {
            **_head("call", subject, judged.gates[0] if judged.gates else "manual"),
            "gates": judged.gates,
            "rule": judged.rule,
            "severity": str(judged.severity),
            "why": _text(judged.why),
            "tool": _text(call.tool),
            "call_kind": str(call.kind),
            "title": _text(call.title),
            **long,
            "cwd": _text(call.cwd),
            "paths": _list(call.paths),
            "hosts": _list(call.hosts),
            "remote": _text(call.input) if call.moves else "",
            "impact": _list([line for move in call.moves for line in described(move)]),
            "cut": cut,
            "diff_sha256": call.diff_sha256,
            "call_sha256": call.sha256,
            "intent": _text(intent),
            **_waiting(deadline, blocked),
            "approve": "let it do exactly this, once",
            "deny": "refuse; the agent is told why and goes on without it",
            "changes": "refuse; the agent is told what to do instead",
        }
    )


def _input(call: ToolCall) -> str:
    """Return the agent's own JSON where nothing better says what a call does."""
    return "" if call.command or call.diff else call.input


def question_card(
    subject: Subject, text: str, choices: Sequence[str], deadline: Deadline, *, blocked: str = ""
) -> Json:
    """Return the card of a question that is no permission."""
    long, cut = _long({"question": text})
    return _stated(
        {
            **_head("question", subject, "question"),
            "severity": str(Severity.LOW),
            **long,
            "choices": _list(choices),
            "cut": cut,
            **_waiting(deadline, blocked),
            "approve": "yes, or go on as you think best",
            "deny": "no; the agent is told why",
            "changes": "the text that answers it",
        }
    )


def budget_card(
    subject: Subject,
    spent: Usage,
    limits: Mapping[str, float | int | None],
    deadline: Deadline,
    *,
    why: str = "",
    blocked: str = "",
) -> Json:
    """Return the card of a task that has used up what it may; amounts are decimal texts."""
    return _stated(
        {
            **_head("budget", subject, "budget"),
            "severity": str(Severity.MEDIUM),
            "why": _text(why),
            "spent": _amounts({name: getattr(spent, name) for name in _COUNTED}),
            "limits": _amounts(limits),
            **_waiting(deadline, blocked),
            "approve": "let it go on, up to the same limits once more",
            "deny": "end it here",
        }
    )


_COUNTED: Final = (
    *("cost_usd", "input_tokens", "output_tokens", "cached_tokens", "thought_tokens"),
)


def _amounts(values: Mapping[str, float | int | None]) -> dict[str, str]:
    """Return amounts as texts: a number with a point may change on its way, a text does not."""
    return {
        _text(name): f"{value:.4f}" if isinstance(value, float) else str(value)
        for name, value in values.items()
        if value is not None
    }


def _head(kind: str, subject: Subject, gate: str) -> Json:
    return {
        "kind": kind,
        "task_id": subject.task_id,
        "task_name": _text(subject.task_name),
        "project_id": subject.project_id,
        "agent": _text(subject.agent),
        "attempt": subject.attempt,
        "branch": _text(subject.branch),
        "gate": gate,
    }


def _waiting(deadline: Deadline, blocked: str) -> Json:
    return {
        "blocked": _text(blocked) or "the task waits; nothing else of it goes on meanwhile",
        "expires_at": rfc3339(deadline.expires_at),
        "on_timeout": str(deadline.on_timeout),
        "then": _THEN[deadline.on_timeout],
    }


def _stated(card: Json) -> Json:
    """Return a card without what is empty."""
    return {key: value for key, value in card.items() if value not in ("", [], {})}


def _long(texts: Mapping[str, str]) -> tuple[Json, list[str]]:
    """Return long texts made visible, and the names of those that had to be cut."""
    found = {name: _fit(visible(text), _LONG_MAX) for name, text in texts.items() if text}
    return {name: text for name, (text, _) in found.items()}, [
        name for name, (_, whole) in found.items() if not whole
    ]


def _text(text: str) -> str:
    return _fit(visible(text), _TEXT_MAX)[0]


def _list(items: Sequence[str]) -> list[str]:
    """Return as many items as fit, and how many more there are."""
    found: list[str] = []
    room = _LIST_MAX
    for item in items:
        shown = _text(item)
        room -= _size(shown) + 1
        if room < 0:
            return [*found, f"… and {len(items) - len(found)} more"]
        found.append(shown)
    return found


def _size(text: str) -> int:
    return len(msgspec.json.encode(text))


def _fit(text: str, size_max: int) -> tuple[str, bool]:
    """Return a text that is at most so many bytes of JSON, and whether it is whole."""
    if _size(text) <= size_max:
        return text, True
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _size(text[:middle]) <= size_max - 60 else (low, middle - 1)
    return f"{text[:low]}\n… {len(text) - low} characters more", False
