"""``bench/RESULTS.md``: the last run's table, between marks; what people wrote round it stays."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from bench import machine
from bench.figures import HEADINGS, Figure
from bench.table import markdown, plain

PATH = Path(__file__).with_name("RESULTS.md")
BEGIN, END = "<!-- begin: written by make bench -->", "<!-- end: written by make bench -->"
_FRESH = "# Results\n"


class Marks(Struct, frozen=True):
    """Between which lines of the page a program writes, and under which heading if they lack."""

    begin: str
    end: str
    heading: str


BENCH = Marks(BEGIN, END, "")
SCALE = Marks(
    "<!-- begin: written by make bench-scale -->",
    "<!-- end: written by make bench-scale -->",
    "## At scale\n\n",
)


class Setting(Struct, frozen=True, kw_only=True):
    """When, on what and by which command a run was made."""

    date: str
    machine: str
    versions: str
    command: str


def setting(module: str, arguments: Sequence[str], data: Path) -> Setting:
    """Return that of a run of ``python -m module`` begun now, its servers' data under ``data``."""
    return Setting(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        machine=machine.machine(data),
        versions=machine.versions(),
        command=_command(module, arguments),
    )


def _command(module: str, arguments: Sequence[str]) -> str:
    """Return the command of a run, without the place on this machine where its data lay."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--data")
    return shlex.join(["python", "-m", module, *parser.parse_known_args(arguments)[1]])


def show(setting: Setting, figures: Sequence[Figure]) -> None:
    """Print a run."""
    print(setting.machine, setting.versions, sep="\n")
    print(plain(HEADINGS, [figure.cells() for figure in figures]))


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


def replaced(text: str, body: str, marks: Marks = BENCH) -> str:
    """Return a page with what stands between the marks replaced, at its end if they lack."""
    if marks.begin not in text or marks.end not in text:
        text = f"{text or _FRESH}\n{marks.heading}{marks.begin}\n{marks.end}\n"
    before, _, rest = text.partition(marks.begin)
    return f"{before}{marks.begin}\n{body}\n{marks.end}{rest.partition(marks.end)[2]}"


def write(
    setting: Setting, figures: Sequence[Figure], path: Path = PATH, marks: Marks = BENCH
) -> None:
    """Put a run into the page."""
    text = path.read_text() if path.exists() else ""
    path.write_text(replaced(text, report(setting, figures), marks))
