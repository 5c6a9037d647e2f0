"""What the demo agent is to do: the script in a prompt, else the one it always follows.

A script is a prompt with steps in double brackets, ``[[say:Hello]] [[run:make test]]``. The steps
that misbehave make the agent a double for what real ones do at their worst.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

STEPS: Final = {
    "say": "write this",
    "think": "write this as a thought",
    "run": "ask to run this command, and run it",
    "write": "ask to write PATH=TEXT, and write it",
    "ask": "ask to run this command, and only note in pushed.log that it may",
    "question": "ask this in a form; TEXT|one|two gives choices",
    "slow": "say so many ticks, 20 a second",
    "refuse": "end the turn with a refusal",
    "limit": "end the turn because of too many tokens",
    "error": "fail with this status of the model's server",
    "quota": "fail because the quota is used up for so many seconds",
    "lie": "end the turn without having consumed anything",
    "twice": "answer the prompt twice",
    "withdraw": "ask to run this command, and go on without waiting",
    "askmany": "ask so many times at once",
    "flood": "say so many kibibytes",
    "bigline": "write a line of so many bytes",
    "garbage": "write so many lines that are no JSON-RPC (1)",
    "fork": "leave a daemon behind, in a session of its own",
    "crash": "die at once",
    "exit": "end at once, with code 0",
    "hang": "never do anything again",
    "ignore-cancel": "pay no attention to cancellation and SIGTERM from here on",
}
"""Every step, and what it does."""

_STEP: Final = re.compile(r"\[\[(" + "|".join(STEPS) + r")(?::(.*?))?\]\]", re.DOTALL)
_APPROVED: Final = re.compile(r"\bapproved\b", re.IGNORECASE)
_REFUSED: Final = re.compile(
    r"\b(?:denied|refused|rejected|changes|not (?:allowed|approved))\b", re.IGNORECASE
)


class Step(Struct, frozen=True):
    """One thing to do."""

    kind: str
    value: str = ""


DEFAULT: Final = (
    Step("say", "I will write hello.txt, check it, and push it.\n"),
    Step("write", "hello.txt=Hello from Pandar\n"),
    Step("run", "test -s hello.txt && echo hello.txt is there"),
    Step("ask", "git push origin main"),
    Step("say", "All done.\n"),
)


def steps_of(prompt: str) -> list[Step]:
    """Return the steps of a prompt; the default ones when it states none."""
    found = [Step(kind, value) for kind, value in _STEP.findall(prompt)]
    return found or list(DEFAULT)


def resumed(prompt: str, left: list[Step]) -> list[Step] | None:
    """Return how to go on with steps that were left when a decision came; ``None``: it is none.

    ``left`` begins with the call that was decided: approved, it is asked for again; denied, it is
    left out.
    """
    if not left or _STEP.search(prompt):
        return None
    if _REFUSED.search(prompt):
        return [Step("say", "That was denied, so I go on without it.\n"), *left[1:]]
    return left if _APPROVED.search(prompt) else None
