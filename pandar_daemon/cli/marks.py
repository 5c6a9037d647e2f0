"""What the six states look like, and the one thing worth saying about a task in each."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec import Struct
from rich.text import Text

from events.task import Priority, Status
from pandar_daemon.cli.harmless import one_line
from pandar_daemon.cli.look import Look
from pandar_daemon.cli.rows import TaskRow
from pandar_daemon.cli.times import age, span

_ID_MAX: Final = 16
SPINNER: Final = "◐◓◑◒"


class Mark(Struct, frozen=True):
    """A state's picture, its word for people and its style; ``rank`` sorts lists."""

    glyph: str
    word: str
    style: str
    rank: int


MARKS: Final[dict[str, Mark]] = {
    Status.WAITING_CONFIRMATION: Mark("◆", "needs you", "bold reverse yellow", 0),
    Status.RUNNING: Mark("◐", "running", "cyan", 1),
    Status.PENDING: Mark("○", "pending", "", 2),
    Status.FAILED: Mark("✗", "failed", "red", 3),
    Status.COMPLETED: Mark("✓", "completed", "green", 3),
    Status.CANCELLED: Mark("⊘", "cancelled", "dim", 3),
}
_UNKNOWN: Final = Mark("·", "", "", 3)
PRIORITIES: Final = {
    Priority.URGENT: ("▲ urgent", "bold red"),
    Priority.HIGH: ("↑ high", "magenta"),
    Priority.MEDIUM: ("", ""),
    Priority.LOW: ("↓ low", "dim"),
}
_REASONS: Final = {
    "queued": "queued",
    "scheduled": "scheduled",
    "blocked_key": "waits its turn",
    "question": "a question",
    "parked": "parked",
    "resuming": "goes on soon",
    "retry_at": "retries soon",
    "quota": "quota",
    "lost_runner": "runner lost",
    "cancel_requested": "being cancelled",
    "timeout": "timed out",
    "start": "did not start",
    "agent": "agent failed",
    "model": "model failed",
    "budget": "over budget",
}


def mark_of(status: str) -> Mark:
    """Return the mark of a status, a modest one for a status this release does not know."""
    return MARKS.get(status, _UNKNOWN)


def status_text(status: str, look: Look, frame: int = 0) -> Text:
    """Return glyph and word, coloured; plain, the word alone. ``frame`` turns the spinner."""
    mark = mark_of(status)
    word = mark.word or one_line(status)
    if not look.colour:
        return Text(word)
    glyph = SPINNER[frame % len(SPINNER)] if status == Status.RUNNING else mark.glyph
    return Text(f"{glyph} {word}", style=mark.style)


def reason_text(reason: str | None) -> str:
    """Return a ``status_reason`` in words: ``gate:git_push`` becomes ``git push``."""
    if not reason:
        return ""
    kind, _, name = reason.partition(":")
    return one_line(name.replace("_", " ") if name else _REASONS.get(kind, kind.replace("_", " ")))


def short_id(identifier: str) -> str:
    """Return an id as people tell it apart: of a long one its end, where UUIDv7 are random."""
    text = one_line(identifier)
    return text if len(text) <= _ID_MAX else f"…{text[-8:]}"


def bar(progress: int, look: Look) -> Text:
    """Return a bar of ten cells, five on a narrow look, and the percentage; plain, that alone."""
    cells = 10 if look.roomy else 5
    percent = min(max(progress, 0), 100)
    if not look.colour:
        return Text(f"{percent}%")
    halves = round(percent * cells * 2 / 100)
    full = "━" * (halves // 2) + "╸" * (halves % 2)
    return Text.assemble((full, "cyan"), ("─" * (cells - len(full)), "dim"), f" {percent:3}%")


def detail(task: TaskRow, now: datetime, look: Look) -> Text:
    """Return what matters about a task beside its state: how far, why not, how it ended."""
    match task.status:
        case Status.RUNNING if task.progress and not task.status_reason:
            return bar(task.progress, look)
        case Status.PENDING if task.scheduled_at is not None and task.scheduled_at > now:
            return Text(age(task.scheduled_at, now))
        case Status.PENDING | Status.RUNNING:
            return Text(reason_text(task.status_reason), style="dim")
        case Status.WAITING_CONFIRMATION:
            return Text(reason_text(task.status_reason) or "confirm", style="yellow")
        case Status.FAILED:
            return Text(_failure(task), style="red")
        case _:
            return Text("" if task.duration is None else span(task.duration), style="dim")


def _failure(task: TaskRow) -> str:
    code = "" if task.exit_code is None else f"exit {task.exit_code}"
    return reason_text(task.status_reason) or code or one_line(task.error or "")


def priority_text(priority: str, look: Look) -> Text:
    """Return the mark of a priority; nothing for medium, so that the others stand out."""
    words, style = PRIORITIES.get(Priority(priority), ("", ""))
    return Text(words if look.colour else words[2:], style=style)
