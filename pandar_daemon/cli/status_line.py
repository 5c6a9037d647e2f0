"""A task in one line, for what was done to it and how it ended."""

from __future__ import annotations

from rich.text import Text

from events.task import Status
from pandar_daemon.cli.harmless import one_line
from pandar_daemon.cli.look import Look, paint
from pandar_daemon.cli.marks import reason_text, status_text
from pandar_daemon.cli.rows import TaskRow
from pandar_daemon.cli.times import span


def status_line(task: TaskRow, look: Look) -> str:
    """Return state, number, name, how it ended: ``✓ completed  task 42  Audit  after 2 m 3 s``."""
    parts = [status_text(task.status, look), Text(f"task {task.id}", style="dim")]
    parts += [Text(one_line(task.name), style="bold"), Text(_how(task), style="dim")]
    line = Text("  ").join(part for part in parts if part)
    return paint(line, look)


def _how(task: TaskRow) -> str:
    took = "" if task.duration is None else f"after {span(task.duration)}"
    match task.status:
        case Status.WAITING_CONFIRMATION:
            return f"{reason_text(task.status_reason)}: pandar task show {task.id}"
        case Status.FAILED:
            return " ".join(filter(None, [one_line(task.error or "")[:200], took]))
        case Status.COMPLETED | Status.CANCELLED:
            return took
        case _:
            return reason_text(task.status_reason)
