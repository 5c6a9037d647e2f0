"""``pandar guard``: what the command guard says of commands."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pandar_daemon.cli.harmless import one_line
from pandar_daemon.domain.harmless import in_json

if TYPE_CHECKING:
    from events.calls import Rules
    from pandar_daemon.domain.guard import Guarded

_MARKS = {"deny": "✗", "gate": "■", "ask": "?", "allow": "✓"}
_LINE_MAX = 1_000_000
"""Bytes of one line of input that are kept; a longer one is cut, and asked about."""


@click.group()
def guard() -> None:
    """Try commands on the guard."""


@guard.command()
@click.argument("commands", nargs=-1, metavar="[COMMAND...]")
@click.option("--project", "project_id", type=int, help="Judge by the rules of one project.")
@click.option("--data", type=click.Path(path_type=Path), help="The data directory [PANDAR_DATA].")
@click.option("--fail", is_flag=True, help="Exit with 1 when anything is not allowed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.pass_context
def check(
    ctx: click.Context,
    *,
    commands: Sequence[str],
    project_id: int | None,
    data: Path | None,
    fail: bool,
    as_json: bool,
) -> None:
    """Say what the guard makes of each COMMAND, or of each line of standard input.

    It says deny, gate, ask or allow; nothing is run, and no server is asked. Each COMMAND is the
    text of one. With --json each line of input is one JSON string, and each line of output
    {"decision", "rule", "gates", "why"}, in the same order, as soon as its line was read. It exits
    with 0 when all could be judged, whatever the decisions; see --fail.
    """
    rules = _rules(project_id, data)
    stopped = False
    for text in commands or _lines():
        found = _judged(text, rules, as_json=as_json and not commands)
        stopped |= found.decision.value != "allow"
        click.echo(_line(found, as_json=as_json))
        sys.stdout.flush()
    if fail and stopped:
        ctx.exit(1)


def _rules(project_id: int | None, data: Path | None) -> Rules:
    """Return the rules of a project as the owner's file has them; of all projects without one."""
    from pandar_daemon.cli.settings import settings  # noqa: PLC0415
    from pandar_daemon.configuration import default_path, load  # noqa: PLC0415

    return load(default_path(settings(data).data)).rules_for(project_id or 0, {})


def _lines() -> Iterator[str]:
    """Yield the lines of standard input as they come, without their ends; bad bytes replaced."""
    read = sys.stdin.buffer.readline
    for line in iter(lambda: read(_LINE_MAX), b""):
        rest = line
        while len(rest) == _LINE_MAX and not rest.endswith(b"\n"):
            rest = read(_LINE_MAX)  # too long to be judged, and still one line
        yield line.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")


def _judged(text: str, rules: Rules, *, as_json: bool) -> Guarded:
    from pandar_daemon.domain.guard import Decision, Guarded, check  # noqa: PLC0415

    command = _string(text) if as_json else text
    if command is None:
        why = "the line is no JSON string"
        return Guarded(decision=Decision.ASK, rule="input.no_json_string", why=why)
    return check(command, rules)


def _string(line: str) -> str | None:
    import json  # noqa: PLC0415

    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, str) else None


def _line(found: Guarded, *, as_json: bool) -> str:
    if as_json:
        import msgspec  # noqa: PLC0415

        return in_json(msgspec.json.encode(found).decode())
    decision = found.decision.value
    about = ", ".join(found.gates) if decision == "gate" else found.rule
    why = f": {one_line(found.why)}" if found.why else ""
    return f"{_MARKS[decision]} {decision:5} {one_line(about)}{why}"
