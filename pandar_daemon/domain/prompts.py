"""Notices a command that waits for an answer on its terminal, as nobody sits there.

A prompt is a line that was begun and not ended, after which nothing came for a while, and for
which somebody reads the keyboard. The kernel says whether somebody does; where it does not know, a
line that ends like a question to be answered with yes or no, or for a password, will do.
"""

from __future__ import annotations

import re
from typing import Final

from events.commands import Decision
from events.running import Decided
from pandar_daemon.domain.terminal import Terminal

QUIET_SEC: Final = 1.5
"""How long nothing must have come after a line that was begun."""
MUTE_SEC: Final = 10.0
"""How long nothing must have come at all, when somebody reads the keyboard without a prompt."""
_SHOWN: Final = 1_500
_LINES: Final = 6
_QUESTION: Final = re.compile(
    r"(?:[\[(]\s*y(?:es)?\s*/\s*n(?:o)?\b[^\])]*[\])]|pass(?:word|phrase)[^:\n]*:|\?)\s*:?\s*\Z",
    re.IGNORECASE,
)


class Prompts:
    """Looks at one terminal. Times are seconds of a clock that never jumps."""

    def __init__(self) -> None:
        self._shown = Terminal(_SHOWN)
        self._last_at = 0.0
        self._is_new = False  # something came since the last question

    def feed(self, data: bytes, at: float) -> None:
        """Take what was written next."""
        self._shown.feed(data)
        self._last_at = at
        self._is_new = True

    def is_quiet(self, at: float) -> bool:
        """Return whether it is time to ask the kernel who reads."""
        return self._is_new and at - self._last_at >= QUIET_SEC

    def question(self, at: float, *, is_read: bool) -> str | None:
        """Return what it asks, once for each time it does; ``None`` when it asks nothing.

        ``is_read`` is whether somebody is known to wait for the keyboard.
        """
        if not self.is_quiet(at):
            return None
        text = self._shown.tail()
        line = text.rpartition("\n")[2]
        mute = is_read and at - self._last_at >= MUTE_SEC
        asks = bool(line.strip()) and (is_read or _QUESTION.search(line) is not None)
        if not (asks or mute):
            return None
        self._is_new = False
        lines = text.strip("\n").split("\n")[-_LINES:]
        return "\n".join(lines).strip() or "The command waits for input, without saying for what."


def reply(question: str, decided: Decided) -> bytes:
    """Return what to type for a decision: the text somebody gave, else yes, no or Ctrl-C.

    A denial of what is no question to be answered with no interrupts the command.
    """
    if decided.reason and decided.decision is not Decision.DENY:
        return decided.reason.encode() + b"\r"
    if decided.decision is Decision.DENY:
        return b"n\r" if _QUESTION.search(question.rpartition("\n")[2]) else b"\x03"
    return b"y\r"
