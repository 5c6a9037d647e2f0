"""What a task wrote and what happens to it, as it is printed."""

from __future__ import annotations

import sys

from msgspec import Struct
from rich.text import Text

from events import codec
from events.envelope import Recorded
from events.task import TaskProgressed
from pandar_daemon.cli.following import Output
from pandar_daemon.cli.harmless import OutputFilter, harmless, one_line
from pandar_daemon.cli.live_line import LiveLine
from pandar_daemon.cli.marks import bar
from pandar_daemon.cli.output import err_look, note, out_look, say, say_json


class How(Struct, frozen=True, kw_only=True):
    """How output is to be printed."""

    tail: int | None = None
    attempt: int | None = None
    raw: bool = False
    json: bool = False


class Printer:
    """Prints output to stdout: harmless text, every byte, or JSON lines.

    How far a task says it is stands in a line of its own on stderr, where a person looks.
    """

    def __init__(self, how: How) -> None:
        self._how = how
        self._filter = OutputFilter(colour=out_look().colour)
        self._reached = (0, 0)
        self._progress = LiveLine()
        self._midline = False

    def output(self, piece: Output) -> None:
        """Print a piece of output; says on stderr when something before it is not kept."""
        self._progress.erase()
        self._print(piece)
        self._draw()

    def _print(self, piece: Output) -> None:
        attempt, expected = self._reached
        if attempt == piece.attempt and piece.offset > expected:
            self.end_line()
            note(f"{piece.offset - expected:,} bytes of output are not kept")
        self._reached = (piece.attempt, piece.end)
        text = piece.data.decode("utf-8", "replace")
        if self._how.json:
            say_json({"type": "output", "attempt": piece.attempt, "offset": piece.offset,
                      "text": text})  # fmt: skip
            return
        if self._how.raw:
            sys.stdout.buffer.write(piece.data)
            sys.stdout.flush()
        else:
            text = self._filter.feed(piece.data)
            say(text)
        if drawn := harmless(text):
            self._midline = not drawn.endswith("\n")

    def happened(self, recorded: Recorded) -> None:
        """Print an event where a program reads, an attempt's beginning where a person does."""
        if self._how.json:
            say_json({"type": "event", "event": recorded})
        elif recorded.type == "task.retried":
            self.remark("it is tried again")
        match codec.decode(recorded):
            case TaskProgressed() as event:
                self.progress(event.progress, event.message)
            case None:
                pass
            case _:
                self._progress.erase()
                self._progress.set(Text())

    def progress(self, percent: int, message: str = "") -> None:
        """Show how far it is, until something else happens to the task."""
        line = Text("  ").join([bar(percent, err_look()), Text(one_line(message), style="dim")])
        line.rstrip()
        self._progress.set(line)
        self._draw()

    def remark(self, text: str) -> None:
        """Say something about the task on stderr."""
        self._progress.erase()
        self.end_line()
        note(text)
        self._draw()

    def end_line(self) -> None:
        """Go to a new line where an unfinished one of output stands before what is said next."""
        if self._midline and err_look().width is not None:
            sys.stderr.write("\n")
            self._midline = False

    def _draw(self) -> None:
        """Draw the progress, unless an unfinished line of output may stand where it would."""
        if not (self._midline and out_look().width is not None):
            self._progress.draw()

    def close(self) -> None:
        """Print what was held back, and take the progress away."""
        self._progress.erase()
        if not (self._how.raw or self._how.json):
            say(self._filter.close())
