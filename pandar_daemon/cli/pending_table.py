"""``pandar pending``: what waits for people, the nearest deadline first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct
from rich.text import Text

from events.task import Json
from pandar_daemon.cli.harmless import one_line
from pandar_daemon.cli.look import Look, paint
from pandar_daemon.cli.marks import reason_text
from pandar_daemon.cli.task_table import Column, fitted
from pandar_daemon.cli.times import age

_NOTHING: Final = "Nothing waits for you.\n"
_SEVERITIES: Final = {
    "low": "dim",
    "medium": "yellow",
    "high": "red",
    "critical": "bold red",
}
_WHAT: Final = ("command", "question", "title", "why", "input")


class PendingRow(Struct, frozen=True, kw_only=True):
    """A confirmation that waits, as the API shows it."""

    id: str
    task_id: int
    gate: str
    card: Json = {}
    project_id: int = 0
    expires_at: datetime | None = None
    quorum: int = 1
    votes: list[Json] = []


def pending_list(rows: Sequence[PendingRow], now: datetime, look: Look, *, more: bool) -> str:
    """Return the list as text; ``more`` when there are others after these."""
    if not rows:
        return _NOTHING
    columns = [
        Column("TASK", [Text(str(row.task_id)) for row in rows], right=True),
        Column("GATE", [_gate(row) for row in rows], most=24),
        Column("WHAT", [Text(_what(row.card), style="bold") for row in rows]),
        Column("LEFT", [_left(row, now) for row in rows], right=True),
    ]
    return f"{paint(fitted(columns, 2, look), look)}\n{paint(_hint(rows, more=more), look)}"


def _gate(row: PendingRow) -> Text:
    style = _SEVERITIES.get(str(row.card.get("severity")), "")
    shown = Text(reason_text(f"gate:{row.gate}"), style=style)
    if row.quorum > 1:
        shown.append(f" {len(row.votes)}/{row.quorum}", style="dim")
    return shown


def _what(card: Json) -> str:
    return next((one_line(str(card[name])) for name in _WHAT if card.get(name)), "")


def _left(row: PendingRow, now: datetime) -> Text:
    if row.expires_at is not None and row.expires_at <= now:
        return Text("overdue", style="red")
    return Text(age(row.expires_at, now).removeprefix("in "), style="dim")


def _hint(rows: Sequence[PendingRow], *, more: bool) -> Text:
    first = rows[0].task_id
    line = Text("look at it:  ", style="dim")
    line.append(f"pandar task show {first}", style="bold")
    line.append("   decide in a browser:  ", style="dim")
    line.append(f"pandar task link {first}", style="bold")
    return line.append("\nthere are more: see --limit", style="dim") if more else line
