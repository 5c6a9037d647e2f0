"""``pandar usage``: what was consumed, in a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final

from msgspec import Struct
from rich.console import Group, RenderableType
from rich.text import Text

from events.task import Json
from pandar_daemon.cli.amounts import dollars, many
from pandar_daemon.cli.harmless import one_line
from pandar_daemon.cli.look import Look, paint
from pandar_daemon.cli.rows import read
from pandar_daemon.cli.task_table import Column, fitted
from pandar_daemon.cli.times import span

_NAMELESS: Final = "(commands)"


class ConsumedRow(Struct, frozen=True, kw_only=True):
    """A sum; one of the first four says of what."""

    day: str | None = None
    agent: str | None = None
    project_id: int | None = None
    task_id: int | None = None
    executions: int = 0
    unpriced_executions: int = 0
    cpu_sec: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    thought_tokens: int = 0
    cost_usd: float = 0.0

    @property
    def name(self) -> str:
        """Return what it is the sum of."""
        if self.agent is not None:
            return one_line(self.agent) or _NAMELESS
        return self.day or str(self.project_id or self.task_id or "")

    @property
    def cost(self) -> str:
        """Return what it cost in USD, ``+`` where something must be added that nobody told."""
        if not self.cost_usd and not self.unpriced_executions:
            return "0.00" if self.input_tokens or self.output_tokens else ""
        if not self.cost_usd:
            return "?"
        return dollars(self.cost_usd) + ("+" if self.unpriced_executions else "")


class UsageRow(Struct, frozen=True, kw_only=True):
    """The answer of the API."""

    items: list[ConsumedRow]
    total: ConsumedRow
    has_more: bool = False


def first_day(since_sec: int, now: datetime) -> str:
    """Return the day, in UTC, so long before ``now``: the first there is when that is too long."""
    try:
        return (now - timedelta(seconds=since_sec)).astimezone(UTC).date().isoformat()
    except OverflowError:
        return date.min.isoformat()


def usage_table(document: Json, by: str, since: str, look: Look) -> str:
    """Return the sums as text, the total below; ``since`` is the first day."""
    found = read(UsageRow, document)
    if not found.items:
        return f"Nothing has ended since {since}.\n"
    rows = [*found.items, *([found.total] if len(found.items) > 1 or found.has_more else [])]
    names = [Text(row.name) for row in found.items]
    names += [Text("total", style="bold")] * (len(rows) - len(names))
    parts: list[RenderableType] = [fitted(_columns(by, names, rows, look), 0, look)]
    parts += [Text(note, style="dim") for note in _notes(found)]
    return paint(Group(*parts), look)


def _columns(by: str, names: list[Text], rows: Sequence[ConsumedRow], look: Look) -> list[Column]:
    columns = {
        "RUNS": [many(row.executions) for row in rows],
        "CPU": [span(row.cpu_sec) for row in rows],
        "IN": [many(row.input_tokens) for row in rows],
        "CACHED": [many(row.cached_tokens) for row in rows],
        "OUT": [many(row.output_tokens) for row in rows],
        "USD": [row.cost for row in rows],
    }
    if not look.roomy:
        del columns["CPU"], columns["CACHED"]
    return [
        Column(by.upper(), names),
        *(
            Column(title, [Text(cell) for cell in cells], right=True)
            for title, cells in columns.items()
        ),
    ]


def _notes(found: UsageRow) -> list[str]:
    notes = []
    if found.has_more:
        notes.append(f"only the first {len(found.items):,} are shown; the total is of all")
    if missing := found.total.unpriced_executions:
        runs = "1 run" if missing == 1 else f"{missing:,} runs"
        notes.append(f"{runs} used tokens and nobody told what these cost")
    return notes
