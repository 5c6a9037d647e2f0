"""The pattern a page suggests: one that fits what is asked, and nothing else."""

from __future__ import annotations

import re
from typing import Final

from events.task import Json
from pandar_daemon.adapters.http.pages.texts import text, texts
from pandar_daemon.domain.shell_runs import runs

_MEANS_OTHERS: Final = re.compile(r"([*?\[])")
_SHOWN_AS_ANOTHER: Final = re.compile(r"[⟨⟩…\s]")
"""A name with these is not what the card shows, or no word of a pattern."""


def suggested(card: Json) -> str:
    """Return the pattern for a card's one command, else its one path or host; empty for none."""
    command = text(card, "command")
    if command:
        return _of_command(command) if "command" not in texts(card, "cut") else ""
    named = [*texts(card, "paths"), *texts(card, "hosts")]
    return _exactly(named) if len(named) == 1 else ""


def _of_command(command: str) -> str:
    found = runs(command)
    if len(found) != 1 or not all(word.fixed for word in found[0].written):
        return ""
    return _exactly([word.text for word in found[0].written])


def _exactly(words: list[str]) -> str:
    if any(not word or _SHOWN_AS_ANOTHER.search(word) for word in words):
        return ""
    return " ".join(_MEANS_OTHERS.sub(r"[\1]", word) for word in words)
