"""What a proxy agent is asked, and what of it is an answer."""

from __future__ import annotations

from typing import Final

import msgspec

from events.running import Assignment

UNKNOWN: Final = "I DO NOT KNOW"
ANSWER_MAX: Final = 2_000


def proxy_prompt(assignment: Assignment, question: str) -> str:
    """Return what to say to an agent that answers in the place of who filed a task."""
    context = assignment.metadata.get("context")
    known = context if isinstance(context, str) else msgspec.json.encode(context).decode()
    about = f"\n\nContext:\n{known}" if context else ""
    return (
        "You answer in the place of the person who filed a task, and who is away. Use no tools"
        " and change nothing. Answer with the text to be entered, and nothing else. If what you"
        f" were told is not enough to answer it, say exactly: {UNKNOWN}\n\n"
        f"The task: {assignment.prompt or assignment.command}{about}\n\n"
        f"The question:\n{question}"
    )


def answer_in(said: str) -> str | None:
    """Return the answer in what a proxy agent said, one line; ``None`` when there is none."""
    text = said.strip()
    known = bool(text) and UNKNOWN not in text.upper()
    return text.splitlines()[0].strip()[:ANSWER_MAX] if known else None
