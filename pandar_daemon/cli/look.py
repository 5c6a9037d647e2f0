"""How a terminal wants to be written to, and rich renderables as text for it."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import Final, TextIO

from msgspec import Struct
from rich.console import Console, Group, RenderableType

_UNBOUNDED: Final = 10_000
WIDEST: Final = 120
"""Beyond this many columns lines get hard to follow; tables stay narrower."""
_ROOMY: Final = 80


class Look(Struct, frozen=True):
    """``width`` is ``None`` where nothing must be cut; without ``colour`` text is plain.

    Plain means: no colour, no box drawing, words where there would be pictures.
    """

    width: int | None = None
    colour: bool = False

    @property
    def columns(self) -> int | None:
        """Return the columns a layout may use, ``None`` for as many as it needs."""
        return None if self.width is None else max(40, min(self.width, WIDEST))

    @property
    def roomy(self) -> bool:
        """Return whether there is room for what is merely nice to know."""
        return self.width is None or self.width >= _ROOMY


PLAIN: Final = Look()


def look_of(stream: TextIO, environment: Mapping[str, str]) -> Look:
    """Return how to write to ``stream``: plain and uncut unless a person sits there.

    ``NO_COLOR`` (any value) and ``TERM=dumb`` make it plain, an encoding that cannot show the
    glyphs does too; ``COLUMNS`` overrides the width.
    """
    if not stream.isatty():
        return PLAIN
    plain = "NO_COLOR" in environment or environment.get("TERM") == "dumb"
    unicode = (stream.encoding or "").lower().replace("-", "") in {"utf8", "utf16"}
    return Look(_width(stream, environment), colour=unicode and not plain)


def _width(stream: TextIO, environment: Mapping[str, str]) -> int:
    if environment.get("COLUMNS", "").isdecimal():
        return int(environment["COLUMNS"])
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def paint(renderable: RenderableType, look: Look) -> str:
    """Return a renderable as text that ends with a newline, without trailing blanks when plain."""
    out = io.StringIO()
    whole = Group(renderable)  # alone, a Text would lose its own ways of wrapping
    Console(
        file=out,
        width=look.columns or _UNBOUNDED,
        color_system="standard" if look.colour else None,
        force_terminal=look.colour,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
        _environ={},
    ).print(whole)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())
