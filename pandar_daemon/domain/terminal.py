"""What a program tells through its terminal: plain text, and how far it is.

Fed in pieces cut anywhere, even inside an escape sequence or a character: the result is that of
the whole. Memory is bounded, whatever is written.
"""

from __future__ import annotations

import codecs
import re

_STRING_MAX = 4_096
_STRING_BODY = rb"[^\x07\x18\x1a\x1b]{0,%d}" % _STRING_MAX
_SEQUENCE = re.compile(
    rb"\x1b(?:"
    rb"\[[0-?]{0,64}[ -/]{0,8}[@-~]"  # CSI: colours, cursor
    rb"|[\]PX^_]" + _STRING_BODY + rb"(?:\x07|\x1b\\)"  # OSC, DCS…: titles, links, progress
    rb"|[ -/]{1,8}[0-~]|[0-OQ-WYZ\\`-~]"  # the short ones
    rb"|)"  # a broken one loses its ESC only
)
_UNFINISHED = re.compile(
    rb"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}|[\]PX^_]" + _STRING_BODY + rb"\x1b?|[ -/]{0,8})\Z"
)
_UNFINISHED_MAX = _STRING_MAX + 3
_PROGRESS = re.compile(rb"\x1b\]9;4;([0-4])(?:;(\d{1,3}))?(?:\x07|\x1b\\)")
_TELLING = frozenset({b"1", b"2", b"4"})  # normal, error, paused; 0 is none, 3 is unknown
_CONTROLS = bytes(set(range(32)) - {*b"\t\n"}) + b"\x7f"


class Terminal:
    """The last ``tail_max`` characters shown, and the last progress told, in percent."""

    def __init__(self, tail_max: int) -> None:
        self.progress: int | None = None
        self._tail = ""
        self._tail_max = tail_max
        self._held = b""  # the beginning of a sequence whose end has not come
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes) -> None:
        """Take what was written next."""
        data = self._held + data
        unfinished = _UNFINISHED.search(data, max(0, len(data) - _UNFINISHED_MAX))
        end = unfinished.start() if unfinished else len(data)
        self._held = data[end:]
        self._take(data[:end])

    def tail(self) -> str:
        """Return the last characters as text: no escapes, no controls but tab and newline.

        Takes what has come as all there is.
        """
        rest, self._held = self._held, b""
        self._take(rest, final=True)
        return self._tail

    def _take(self, data: bytes, *, final: bool = False) -> None:
        for state, percent in _PROGRESS.findall(data):
            if state in _TELLING and percent and int(percent) <= 100:  # noqa: PLR2004
                self.progress = int(percent)
        shown = _SEQUENCE.sub(b"", data).translate(None, _CONTROLS)
        self._tail = (self._tail + self._decoder.decode(shown, final))[-self._tail_max :]
