"""``pandar policy try``: calls then and now, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Group, RenderableType
from rich.text import Text

from events.calls import Verdict
from pandar_daemon.cli.harmless import one_line
from pandar_daemon.cli.look import Look, paint
from pandar_daemon.cli.task_table import Column, fitted

if TYPE_CHECKING:
    from pandar_daemon.domain.replaying import Totals, Tried

_STYLES: Final = {Verdict.ALLOW: "green", Verdict.ASK: "yellow", Verdict.DENY: "red"}
_RULE_MAX: Final = 34


def policy_table(shown: Sequence[Tried], totals: Totals, look: Look) -> str:
    """Return the calls as text, the sums below."""
    if not totals.calls:
        return "No call was decided in that time.\n"
    parts: list[RenderableType] = []
    if shown:
        parts += [fitted(_columns(shown, look), 1, look), Text()]
    parts += [_sums(totals, look), *_notes(shown, totals)]
    return paint(Group(*parts), look)


def _columns(shown: Sequence[Tried], look: Look) -> list[Column]:
    columns = [
        Column("TASK", [Text(str(call.task_id)) for call in shown], right=True),
        Column("CALL", [Text(one_line(call.what)) for call in shown]),
        Column("THEN", [_verdict(call.then) for call in shown]),
        Column("NOW", [_verdict(call.now) for call in shown]),
    ]
    if look.roomy:
        rules = [Text(one_line(call.now_rule), style="dim") for call in shown]
        columns.append(Column("RULE", rules, most=_RULE_MAX))
    return columns


def _verdict(verdict: Verdict) -> Text:
    return Text(verdict, style=_STYLES[verdict])


def _sums(totals: Totals, look: Look) -> RenderableType:
    sums = {"then": totals.then, "now": totals.now}
    columns = [Column(f"{totals.calls:,} CALLS", [Text(name) for name in sums])]
    columns += [
        Column(verdict.upper(), [Text(f"{by[verdict]:,}") for by in sums.values()], right=True)
        for verdict in Verdict
    ]
    return fitted(columns, 0, look)


def _notes(shown: Sequence[Tried], totals: Totals) -> list[Text]:
    notes = [
        f"prompts saved: {totals.prompts_saved:,}",
        f"newly asked: {totals.newly_asked:,}",
        f"newly denied: {totals.newly_denied:,}",
    ]
    said = [Text(", ".join(notes), style="bold")]
    same = totals.calls - len(shown)
    return [*said, Text(f"{same:,} calls as before", style="dim")] if same else said
