"""Text of others on our terminal: it may colour itself, and do nothing else.

Output of agents and names of tasks are untrusted. An escape sequence can move the cursor over
what was printed, retitle the window, or have the terminal type for its owner; a direction
override can make one command read as another. Only SGR (colour, bold…) passes.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

from pandar_daemon.domain.harmless import MARK, unpiled

_HOLD_MAX: Final = 4_096
"""An escape sequence still unfinished after this many characters is shown, not waited for."""

_TOKEN = re.compile(
    r"(?P<sgr>\x1b\[[0-9;:]*m)"
    r"|(?P<csi>\x1b\[[0-?]*[ -/]*[@-~])"
    r"|(?P<string>\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\))"
    r"|(?P<escape>\x1b[ -/]*[0-OQ-WYZ\\`-~])"
    r"|(?P<newline>\r+\n?)"
    r"|(?P<control>[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    r"\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufeff\uffa0\ufff0-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e0fff])"
)
_UNFINISHED = re.compile(
    r"(?:\x1b(?:[ -/]*|\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?)|(?<!\r)\r++"
    rf"|(?<!{MARK}){MARK}++)\Z"
)
_PICTURES: Final = 0x2400
_FIRST_PRINTABLE: Final = 0x20
_DELETE: Final = 0x7F


def _visible(character: str) -> str:
    code = ord(character)
    if code < _FIRST_PRINTABLE:
        return chr(_PICTURES + code)
    return "␡" if code == _DELETE else f"<U+{code:04X}>"


def _harmless(match: re.Match[str], *, colour: bool) -> str:
    match match.lastgroup:
        case "sgr" if colour:
            return match[0]
        case "newline":
            return "\n"
        case "control":
            return _visible(match[0])
        case _:
            return ""


def harmless(text: str, *, colour: bool = False) -> str:
    """Return complete text with everything but tabs, newlines and (on ``colour``) SGR made inert.

    Sequences that draw are dropped, other control characters become visible, a lone carriage
    return becomes a newline: nothing printed before can be covered.
    """
    return unpiled(_TOKEN.sub(lambda match: _harmless(match, colour=colour), text))


def one_line(text: str) -> str:
    """Return text as one harmless line: runs of white space are one space."""
    return " ".join(harmless(text).split())


class OutputFilter:
    """Makes a stream of bytes harmless, however it is cut into chunks."""

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def feed(self, data: bytes) -> str:
        """Return what can be shown so far; an unfinished sequence waits for its end."""
        text = self._held + self._decoder.decode(data)
        unfinished = _UNFINISHED.search(text)
        at = unfinished.start() if unfinished else len(text)
        if len(text) - at > _HOLD_MAX:
            at = len(text)
        self._held = text[at:]
        return harmless(text[:at], colour=self._colour)

    def close(self) -> str:
        """Return the rest, with colours put back to normal."""
        rest = harmless(self._held + self._decoder.decode(b"", final=True), colour=self._colour)
        self._held = ""
        return rest + ("\x1b[0m" if self._colour else "")
