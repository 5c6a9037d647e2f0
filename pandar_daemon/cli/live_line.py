"""One line on stderr that is rewritten, where a person looks."""

from __future__ import annotations

import sys

from rich.text import Text

from pandar_daemon.cli.look import paint
from pandar_daemon.cli.output import err_look

_ERASE = "\r\x1b[K"


class LiveLine:
    """Without a terminal on stderr it says nothing.

    Whoever writes elsewhere on the same screen erases it before, and draws it again after.
    """

    def __init__(self) -> None:
        self._look = err_look()
        self._text = Text()
        self._drawn = False

    def set(self, text: Text) -> None:
        """Choose what the line says from now on; empty for nothing."""
        self._text = text

    def draw(self) -> None:
        """Put the line where the cursor is, at the beginning of a line."""
        if self._look.width is None or not self._text:
            return
        line = self._text.copy()
        line.no_wrap, line.overflow = True, "ellipsis"
        sys.stderr.write(_ERASE + paint(line, self._look).rstrip("\n"))
        sys.stderr.flush()
        self._drawn = True

    def erase(self) -> None:
        """Leave no trace of it."""
        if self._drawn:
            sys.stderr.write(_ERASE)
            sys.stderr.flush()
        self._drawn = False
