"""What a scripted model says next: the script travels in the prompt, so no server keeps state.

Steps in double brackets: ``say`` and ``done`` are text, ``run`` a command that needs consent,
``quiet`` one that does not ask for any, ``write`` a file as PATH=TEXT, ``ask`` a question for the
user, ``slow`` ticks, ``status`` an error of the server. A turn ends with each call of a tool.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

STEP = re.compile(r"\[\[(say|run|quiet|write|ask|slow|status|done):(.*?)\]\]", re.DOTALL)
CALLS = frozenset({"run", "quiet", "write", "ask"})
_APPROVED = re.compile(r"\bapproved\b", re.IGNORECASE)
_FRAMED = re.compile(r"<([a-z_-]+)>.*?</\1>", re.DOTALL)
TICK_SEC = 0.05


@dataclass(frozen=True)
class Item:
    """One thing in a conversation: ``user`` text, a ``call`` of a tool, its ``result``."""

    kind: str
    text: str = ""


Step = tuple[str, str]
FINISHED: list[Step] = [("done", "finished")]


def next_turn(items: Sequence[Item]) -> list[Step]:
    """Return the steps of the model's next turn.

    The last prompt with steps counts. One after it that says "approved" has the model ask again
    for the call it made last.
    """
    turns, at, called = [[("done", "ok")]], 0, 0
    for item in items:
        if item.kind == "call":
            called = at
        elif item.kind == "result":
            at = called + 1
        elif steps := STEP.findall(item.text):
            turns, at, called = _turns(steps), 0, 0
        elif _APPROVED.search(_FRAMED.sub("", item.text)):
            at = called
    return turns[at] if at < len(turns) else FINISHED


def _turns(steps: Sequence[Step]) -> list[list[Step]]:
    turns: list[list[Step]] = [[]]
    for step in steps:
        turns[-1].append(step)
        if step[0] in CALLS:
            turns.append([])
    turns[-1] = turns[-1] or FINISHED
    return turns


def words(text: str) -> list[str]:
    """Return a text in the pieces it is streamed in."""
    return re.findall(r"\S+\s*|\s+", text) or [text]


def ticks(count: str) -> list[str]:
    """Return the pieces of a slow step."""
    return [f"tick {n} " for n in range(int(count))]


def error_status(steps: Sequence[Step]) -> int | None:
    """Return the status of the error this turn is, if it is one."""
    return next((int(value) for kind, value in steps if kind == "status"), None)
