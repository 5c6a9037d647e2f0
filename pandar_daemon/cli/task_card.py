"""``pandar task show``: one task, its output, its attempts and what happened to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from events.task import Cut, Json, Status
from pandar_daemon.cli.amounts import used
from pandar_daemon.cli.happenings import STYLES, actor, in_words
from pandar_daemon.cli.harmless import harmless, one_line
from pandar_daemon.cli.look import Look, paint
from pandar_daemon.cli.marks import PRIORITIES, bar, reason_text, short_id, status_text
from pandar_daemon.cli.rows import ExecutionRow, HappenedRow, TaskRow
from pandar_daemon.cli.task_output import output_box
from pandar_daemon.cli.task_question import asked_of, plain_value, question
from pandar_daemon.cli.task_table import Column, fitted
from pandar_daemon.cli.times import age, clock, span
from projections import executions

TIMELINE_LINES: Final = 20
"""Entries of the timeline a card shows, the latest."""
_SHOWN_METADATA: Final = ("agent", "proxy_agent")
_PAIRS_IN_LINE: Final = 2
"""More entries of metadata than these get a line each: in one line they are not seen."""

Fact = tuple[str, RenderableType]


class Card(Struct, frozen=True, kw_only=True):
    """All that a card shows.

    ``at`` when it shows the past; ``cut`` what is not kept of an output whose attempt goes on.
    """

    task: TaskRow
    executions: Sequence[ExecutionRow] = ()
    timeline: Sequence[HappenedRow] = ()
    at: str | None = None
    cut: Cut | None = None


def task_card(card: Card, now: datetime, look: Look) -> str:
    """Return the card as text."""
    parts = [_header(card, look), _question(card, now, look), _facts(card, now, look)]
    parts += [_output(card, look), _attempts(card.executions, now, look)]
    parts += [_timeline(card.timeline, now, look)]
    shown: list[RenderableType] = []
    for part in parts:
        if part is not None:
            shown += [part, Text()]
    return paint(Group(*shown[:-1]), look)


def _header(card: Card, look: Look) -> RenderableType:
    task = card.task
    line = Table.grid(padding=(0, 2, 0, 0), expand=look.columns is not None and look.colour)
    line.add_column(no_wrap=True)
    line.add_column(ratio=1 if look.columns is not None and look.colour else None, overflow="fold")
    line.add_column(no_wrap=True, justify="right")
    number = Text(f"task {task.id}" + (f" at {card.at}" if card.at else ""), style="dim")
    line.add_row(status_text(task.status, look), Text(one_line(task.name), style="bold"), number)
    about = harmless(task.description or "").strip()
    return Group(line, Text(about)) if about else line


def _facts(card: Card, now: datetime, look: Look) -> RenderableType:
    wide = Table.grid(padding=(0, 2, 0, 0))
    for title, value in [*_long_facts(card.task), *_used(card.executions)]:
        wide.add_row(Text(title, style="dim"), value)
    short = list(_short_facts(card.task, now, look))
    if not look.roomy:
        for title, value in short:
            wide.add_row(Text(title, style="dim"), value)
        return wide
    pairs = Table.grid(padding=(0, 2, 0, 0))
    half = (len(short) + 1) // 2
    pairs.add_column(min_width=_TITLE)
    pairs.add_column(min_width=26)
    for left, right in zip(short[:half], [*short[half:], ("", "")], strict=False):
        pairs.add_row(_title(left), left[1], _title(right), right[1])
    return Group(wide, pairs)


_TITLE: Final = 9


def _title(fact: Fact) -> Text:
    return Text(fact[0], style="dim")


def _long_facts(task: TaskRow) -> Iterator[Fact]:
    if task.prompt:
        yield "prompt".ljust(_TITLE), Text(harmless(task.prompt), overflow="fold")
    else:
        yield "command".ljust(_TITLE), Text(harmless(task.command), overflow="fold")
    if task.error:
        yield "error", Text(harmless(task.error), style="red", overflow="fold")
    others = {k: v for k, v in (task.metadata or {}).items() if k not in _SHOWN_METADATA}
    if others:
        yield "metadata", Text(_pairs(others), overflow="fold")


def _used(rows: Sequence[ExecutionRow]) -> Iterator[Fact]:
    if told := used(row.usage for row in rows if row.usage):
        yield "used", Text(told, overflow="fold")


def _pairs(values: Json) -> str:
    pairs = [f"{one_line(key)}={one_line(plain_value(value))}" for key, value in values.items()]
    return ("  " if len(pairs) <= _PAIRS_IN_LINE else "\n").join(pairs)


def _short_facts(task: TaskRow, now: datetime, look: Look) -> Iterator[Fact]:
    yield "project", Text(str(task.project_id))
    yield "priority", Text(str(task.priority), style=PRIORITIES[task.priority][1])
    for key in _SHOWN_METADATA:
        if (task.metadata or {}).get(key):
            yield key.replace("_agent", ""), Text(one_line(plain_value((task.metadata or {})[key])))
    if task.attempt:
        on = f" on {short_id(task.runner_id)}" if task.runner_id else ""
        yield "attempt", Text(f"{task.attempt}{on}")
    if task.status is Status.RUNNING and task.progress is not None:
        yield "progress", bar(task.progress, look)
    elif task.status_reason and task.status is not Status.WAITING_CONFIRMATION:
        yield "because", Text(reason_text(task.status_reason))
    by = f" by {one_line(str(task.created_by))}" if task.created_by is not None else ""
    yield "created", Text(age(task.created_at, now) + by)
    yield from _times(task, now)
    if task.exit_code is not None:
        yield "exit code", Text(str(task.exit_code), style="red" if task.exit_code else "green")


def _times(task: TaskRow, now: datetime) -> Iterator[Fact]:
    if task.scheduled_at is not None:
        yield "scheduled", Text(age(task.scheduled_at, now))
    if task.started_at is not None:
        yield "started", Text(age(task.started_at, now))
    if task.completed_at is not None:
        yield "ended", Text(age(task.completed_at, now))
    if task.duration is not None:
        yield "took", Text(span(task.duration))


def _latest(card: Card) -> ExecutionRow | None:
    return next((row for row in card.executions if row.attempt == card.task.attempt), None)


def _question(card: Card, now: datetime, look: Look) -> RenderableType | None:
    if card.task.status is not Status.WAITING_CONFIRMATION or card.at:
        return None
    latest = _latest(card)
    lost = latest is not None and latest.status == executions.LOST
    return question(card.task, asked_of(card.timeline), now, look, lost=lost)


def _output(card: Card, look: Look) -> RenderableType | None:
    latest = _latest(card)
    return output_box(card.task, card.cut or (latest.cut if latest else None), look)


def _attempts(rows: Sequence[ExecutionRow], now: datetime, look: Look) -> RenderableType | None:
    if not rows:
        return None
    took = [Text("" if row.duration is None else span(row.duration)) for row in rows]
    codes = [Text("" if row.exit_code is None else str(row.exit_code)) for row in rows]
    columns = [
        Column("ATTEMPT", [Text(str(row.attempt)) for row in rows], right=True),
        Column("STATUS", [status_text(row.status, look) for row in rows]),
        Column("STARTED", [Text(age(row.started_at, now)) for row in rows], right=True),
        Column("TOOK", took, right=True),
        Column("EXIT", codes, right=True),
    ]
    if look.roomy:
        columns.append(Column("RUNNER", [Text(short_id(row.runner_id or "")) for row in rows]))
    return fitted(columns, len(columns) - 1 if look.roomy else 1, look)


def _timeline(rows: Sequence[HappenedRow], now: datetime, look: Look) -> RenderableType | None:
    if not rows:
        return None
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=None if look.roomy else 12)
    for row in rows[-TIMELINE_LINES:]:
        table.add_row(
            Text(clock(row.at, now), style="dim"),
            Text(in_words(row.summary or row.type, row.data, now), style=STYLES.get(row.type, "")),
            Text(actor(row.actor), style="dim"),
        )
    hidden = len(rows) - TIMELINE_LINES
    return Group(Text(f"… {hidden} earlier", style="dim"), table) if hidden > 0 else table
