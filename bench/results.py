"""``bench/RESULTS.md``: the last run's table, between marks; what people wrote round it stays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from bench.figures import HEADINGS, Figure
from bench.table import markdown

PATH = Path(__file__).with_name("RESULTS.md")
BEGIN, END = "<!-- begin: written by make bench -->", "<!-- end: written by make bench -->"
_FRESH = f"# Results\n\n{BEGIN}\n{END}\n"


class Setting(Struct, frozen=True, kw_only=True):
    """When, on what and by which command a run was made."""

    date: str
    machine: str
    versions: str
    command: str


def report(setting: Setting, figures: Sequence[Figure]) -> str:
    """Return a run as Markdown."""
    missed = sum(figure.is_missed for figure in figures)
    goals = sum(figure.goal is not None for figure in figures)
    return "\n".join(
        [
            "Ratios (x) within one run are the claim. Absolute figures are this machine's.",
            "",
            f"- Date: {setting.date}",
            f"- Machine: {setting.machine}",
            f"- Versions: {setting.versions}",
            f"- Command: `{setting.command}`",
            f"- Goals met: {goals - missed} of {goals}",
            "",
            markdown(HEADINGS, [figure.cells() for figure in figures]),
        ]
    )


def replaced(text: str, body: str) -> str:
    """Return a page with what stands between its marks replaced; a fresh one without marks."""
    if BEGIN not in text or END not in text:
        text = _FRESH
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{body}\n{END}{rest.partition(END)[2]}"


def write(setting: Setting, figures: Sequence[Figure], path: Path = PATH) -> None:
    """Put a run into the page."""
    text = path.read_text() if path.exists() else ""
    path.write_text(replaced(text, report(setting, figures)))
