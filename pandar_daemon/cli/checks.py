"""``pandar verify`` and ``pandar doctor``: questions with a yes, a no, and what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pandar_daemon.cli.harmless import one_line
from pandar_daemon.cli.log_output import warnings_only
from pandar_daemon.cli.output import Exit, out_look, say, say_json
from pandar_daemon.cli.reach import as_json
from pandar_daemon.cli.settings import settings

if TYPE_CHECKING:
    from pandar_daemon.cli.look import Look
    from pandar_daemon.wiring import Check

_data = click.option(
    "--data", type=click.Path(path_type=Path), help="The data directory [PANDAR_DATA]."
)


@click.command()
@_data
@as_json
def verify(*, data: Path | None, as_json: bool) -> Exit:
    """Prove that log, bus and read models agree.

    The log is dense, the stream equals it, the read models are its fold. Exits with 1 when any
    of it does not hold. With --json it prints {"ok", "checks"}.
    """
    from pandar_daemon import wiring  # noqa: PLC0415
    from pandar_daemon.cli.progress import ProgressLine  # noqa: PLC0415

    with ProgressLine() as progress:
        report = asyncio.run(wiring.verify(warnings_only(settings(data)), progress.show))
    return _answer(report.checks, json=as_json)


@click.command()
@_data
@as_json
def doctor(*, data: Path | None, as_json: bool) -> Exit:
    """Say what is amiss on this machine, and what to do.

    Exits with 1 when anything is. With --json it prints {"ok", "checks"}.
    """
    from pandar_daemon import wiring  # noqa: PLC0415

    return _answer(asyncio.run(wiring.doctor(warnings_only(settings(data)))), json=as_json)


def _answer(checks: Sequence[Check], *, json: bool) -> Exit:
    fine = all(check.ok is not False for check in checks)
    if json:
        say_json({"ok": fine, "checks": checks})
    else:
        say(checks_text(checks, out_look()))
    return Exit.OK if fine else Exit.FAILED


def checks_text(checks: Sequence[Check], look: Look) -> str:
    """Return a line for each check, with what to do below those that need it, then the sum."""
    width = max((len(check.name) for check in checks), default=0)
    lines = [line for check in checks for line in _lines(check, width, look)]
    amiss = sum(check.ok is False for check in checks)
    verdict = f"{amiss} of {len(checks)} amiss" if amiss else "all is well"
    return "\n".join([*lines, "", verdict, ""])


_MARKS = {True: ("ok", "✓", "32"), False: ("BAD", "✗", "1;31"), None: ("-", "·", "90")}


def _lines(check: Check, width: int, look: Look) -> list[str]:
    word, glyph, colour = _MARKS[check.ok]
    mark = f"\x1b[{colour}m{glyph}\x1b[0m" if look.colour else f"{word:3}"
    lines = [f"{mark} {check.name:{width}}  {one_line(check.detail)}".rstrip()]
    if check.hint and check.ok is not True:
        lines.append(f"{' ' * (width + (4 if look.colour else 6))}→ {one_line(check.hint)}")
    return lines
