"""The end of a task's output, as its card shows it."""

from __future__ import annotations

from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from events.task import Cut
from pandar_daemon.cli.boxed import boxed
from pandar_daemon.cli.harmless import harmless
from pandar_daemon.cli.look import Look
from pandar_daemon.cli.rows import TaskRow

OUTPUT_LINES: Final = 12
"""Lines of output a card shows."""
_UNITS: Final = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def output_box(task: TaskRow, cut: Cut | None, look: Look) -> RenderableType | None:
    """Return the last lines, above them how much is not kept; ``None`` when nothing was written."""
    lines = harmless(task.output or "", colour=look.colour).rstrip().splitlines()
    if not lines:
        return None
    body: RenderableType = Text.from_ansi("\n".join(lines[-OUTPUT_LINES:]), overflow="fold")
    if cut is not None:
        gone = Text(f"{size(cut.end - cut.start)} cut from the middle", style="dim")
        body = Group(gone, body)
    return boxed(f"output, see pandar task logs {task.id}", body, look, "dim")


def size(count: int) -> str:
    """Return a number of bytes in one decimal unit: ``812 B``, ``1.9 MB``."""
    for unit, factor in _UNITS:
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"
