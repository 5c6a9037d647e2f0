"""What a task that waits for somebody asks, and how to answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from rich.console import RenderableType
from rich.text import Text

from events.task import Json
from pandar_daemon.cli.boxed import boxed
from pandar_daemon.cli.harmless import harmless, one_line
from pandar_daemon.cli.look import Look
from pandar_daemon.cli.marks import reason_text
from pandar_daemon.cli.rows import HappenedRow, TaskRow
from pandar_daemon.cli.times import age

_LOST_GATE: Final = "lost_runner"
_APPROVE, _DENY, _CHANGES = "", ' --deny --reason "…"', ' --changes "…"'


def asked_of(timeline: Sequence[HappenedRow]) -> Json:
    """Return the latest request of a timeline as it was recorded; empty when there is none."""
    asked = (e.data for e in reversed(timeline) if e.type == "task.confirmation_requested")
    return next(asked, {})


def question(
    task: TaskRow, asked: Json, now: datetime, look: Look, *, lost: bool
) -> RenderableType:
    """Return the request, its deadline and the answers there are.

    ``lost``: the attempt that asked is gone, so that nobody could be asked for something else.
    """
    card = asked.get("card") or {}
    after_loss = _LOST_GATE in {task.status_reason, card.get("gate")}
    lines = Text(overflow="fold")
    for title, value in _lost_facts(card, task) if after_loss else _facts(card):
        lines.append(f"{title}: " if title else "", style="dim")
        lines.append(f"{harmless(value, colour=False)}\n")
    lines.append(_deadline(asked, now), style="dim")
    for how, what in _answers(card if after_loss else {}, lost=lost or after_loss):
        lines.append(f"pandar task confirm {task.id}{how}", style="bold")
        lines.append(f"  {what}\n", style="dim")
    lines.rstrip()
    return boxed(f"needs you: {reason_text(task.status_reason)}", lines, look, "yellow")


def plain_value(value: object) -> str:
    """Return text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


_WHAT: Final = ("question", "command", "diff", "input", "title")
"""What a card asks about, the first of these that it has."""
_SHOWN: Final = (
    *("choices", "impact", "remote", "cwd", "paths", "hosts", "why", "intent", "spent", "limits"),
    "cut",
)
_DIFF_LINES: Final = 60


def _facts(card: Json) -> Iterator[tuple[str, str]]:
    """Iterate over what decides: of our own cards the parts people need, of others all."""
    if "kind" not in card:
        for key, value in card.items():
            yield one_line(str(key)).replace("_", " "), plain_value(value)
        return
    what = next((key for key in _WHAT if card.get(key)), None)
    if what is not None:
        yield what if what == "diff" else "", _shortened(plain_value(card[what]))
    for key in _SHOWN:
        if card.get(key):
            yield key, _joined(card[key])
    if card.get("severity"):
        yield "severity", plain_value(card["severity"])


def _shortened(text: str) -> str:
    lines = text.split("\n")
    more = len(lines) - _DIFF_LINES
    return text if more <= 0 else "\n".join([*lines[:_DIFF_LINES], f"({more} lines more)"])


def _joined(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(plain_value, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain_value(each)}" for key, each in value.items())
    return plain_value(value)


def _lost_facts(card: Json, task: TaskRow) -> Iterator[tuple[str, str]]:
    """Iterate over what decides whether to run it again; ids and the rest tell nobody anything."""
    if card.get("question"):
        yield "", plain_value(card["question"])
    yield "command", plain_value(card.get("command", task.command))
    yield "attempt", plain_value(card.get("attempt", task.attempt))


def _answers(card: Json, *, lost: bool) -> Iterator[tuple[str, str]]:
    yield _APPROVE, _meaning("approves", card.get("approve"))
    yield _DENY, _meaning("refuses", card.get("deny"))
    if not lost:
        yield _CHANGES, "asks for something else"


def _meaning(word: str, consequence: object) -> str:
    return f"{word}: {one_line(consequence)}" if isinstance(consequence, str) else word


def _deadline(asked: Json, now: datetime) -> str:
    try:
        at = datetime.fromisoformat(asked["expires_at"])
    except (KeyError, TypeError, ValueError):
        return ""
    return f"counts as denied {age(at, now)}\n\n" if at > now else "its time is over\n\n"
