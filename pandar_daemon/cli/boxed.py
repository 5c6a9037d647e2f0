"""A part of a card that has a title."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

from pandar_daemon.cli.look import Look


def boxed(title: str, body: RenderableType, look: Look, style: str) -> RenderableType:
    """Return ``body`` in a box; plain, below its title and indented."""
    if not look.colour:
        return Group(Text(title), Padding(body, (0, 0, 0, 2)))
    heading = Text(f" {title} ", style=style)
    return Panel(body, title=heading, title_align="left", box=box.ROUNDED, border_style=style)
