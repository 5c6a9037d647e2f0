"""``pandar task list``: what needs you first, then what runs, waits and is over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct
from rich.table import Table
from rich.text import Text

from events.task import TERMINAL, Priority, Status
from pandar_daemon.cli.harmless import one_line
from pandar_daemon.cli.look import Look, paint
from pandar_daemon.cli.marks import MARKS, detail, mark_of, priority_text, status_text
from pandar_daemon.cli.rows import TaskRow
from pandar_daemon.cli.times import age

_GAP: Final = 2
_NAME_MIN: Final = 12
_LIMIT_MAX: Final = 100
_NO_MATCH: Final = "No task matches.\n"
_NOTHING: Final = 'No tasks. File one:  pandar task create --name Hello -- "echo hello"\n'


class Page(Struct, frozen=True, kw_only=True):
    """Tasks to show, of ``total`` there are; ``filtered`` when only some were asked for."""

    tasks: Sequence[TaskRow]
    total: int = 0
    filtered: bool = False


class Column(Struct):
    """A column of a table: its cells, its alignment, and the most cells it may be wide."""

    title: str
    cells: list[Text]
    right: bool = False
    most: int | None = None

    @property
    def natural(self) -> int:
        """Return the width at which nothing of this column is cut."""
        width = max([len(self.title), *(cell.cell_len for cell in self.cells)])
        return width if self.most is None else min(width, self.most)


def fitted(columns: Sequence[Column], flexible: int, look: Look) -> Table:
    """Return a table of ``columns`` in which only the ``flexible`` one gives way to the width."""
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    widths = [column.natural for column in columns]
    if look.columns is not None:
        others = sum(widths) - widths[flexible] + _GAP * (len(columns) - 1)
        least = min(_NAME_MIN, widths[flexible])
        widths[flexible] = max(least, min(widths[flexible], look.columns - others))
    for column, width in zip(columns, widths, strict=True):
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            width=width,
            no_wrap=True,
            overflow="ellipsis",
        )
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*cells)
    return table


def ordered(tasks: Sequence[TaskRow]) -> list[TaskRow]:
    """Return what needs somebody, then running, pending and ended tasks; else as they came."""
    return sorted(tasks, key=lambda task: mark_of(task.status).rank)


def _when(task: TaskRow) -> datetime | None:
    if task.status in TERMINAL:
        return task.completed_at or task.updated_at or task.created_at
    if task.status is Status.RUNNING:
        return task.started_at or task.created_at
    return task.created_at


def _name(task: TaskRow) -> Text:
    loud = task.status is Status.WAITING_CONFIRMATION
    quiet = task.status is Status.CANCELLED
    return Text(one_line(task.name), style="bold" if loud else "dim" if quiet else "")


def _columns(tasks: Sequence[TaskRow], now: datetime, look: Look, frame: int) -> list[Column]:
    columns = [
        Column("ID", [Text(str(task.id)) for task in tasks], right=True),
        Column("STATUS", [status_text(task.status, look, frame) for task in tasks]),
        Column("NAME", [_name(task) for task in tasks]),
    ]
    if look.roomy and any(task.priority is not Priority.MEDIUM for task in tasks):
        columns.append(Column("PRIORITY", [priority_text(task.priority, look) for task in tasks]))
    if look.roomy and len({task.project_id for task in tasks}) > 1:
        projects = [Text(str(task.project_id)) for task in tasks]
        columns.append(Column("PROJECT", projects, right=True))
    details = [detail(task, now, look) for task in tasks]
    ages = [Text(age(_when(task), now), style="dim") for task in tasks]
    return [
        *columns,
        Column("", details, most=20 if look.roomy else 11),
        Column("AGE", ages, right=True),
    ]


def _count(status: Status, number: int) -> Text:
    word = mark_of(status).word
    if status is Status.WAITING_CONFIRMATION and number > 1:
        word = "need you"
    return Text(f"{number} {word}", style=mark_of(status).style)


def _counts(tasks: Sequence[TaskRow], look: Look) -> list[Text]:
    counts = Counter(task.status for task in tasks)
    shown = [
        _count(status, counts[status])
        for status in map(Status, MARKS)
        if status in counts and (look.roomy or status not in TERMINAL)
    ]
    ended = sum(number for status, number in counts.items() if status in TERMINAL)
    return shown if look.roomy or not ended else [*shown, Text(f"{ended} over")]


def summary(page: Page, look: Look) -> Text:
    """Return how many of the tasks shown are in which state, and what to do about the first."""
    line = Text(" · " if look.colour else ", ").join(_counts(page.tasks, look))
    shown = len(page.tasks)
    if page.total > shown:
        more = "" if shown >= _LIMIT_MAX else ", see --limit"
        line.append(f"  ({shown} of {page.total:,} shown{more})", style="dim")
    waiting = [task.id for task in page.tasks if task.status is Status.WAITING_CONFIRMATION]
    if waiting:
        line.append("\nsee what it asks:  ", style="dim")
        line.append(f"pandar task show {waiting[0]}", style="bold")
    return line


def task_list(page: Page, now: datetime, look: Look, *, frame: int = 0) -> str:
    """Return the list as text."""
    if not page.tasks:
        return _NO_MATCH if page.filtered else _NOTHING
    rows = ordered(page.tasks)
    table = paint(fitted(_columns(rows, now, look, frame), 2, look), look)
    return f"{table}\n{paint(summary(page, look), look)}"
