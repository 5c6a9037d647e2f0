"""``pandar archive``: old ranges of the log to files."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pandar_daemon.cli.log_output import warnings_only
from pandar_daemon.cli.output import say, say_json
from pandar_daemon.cli.reach import as_json
from pandar_daemon.cli.settings import settings
from pandar_daemon.cli.values import SPAN

if TYPE_CHECKING:
    from pandar_daemon.config import Settings


@click.command()
@click.option(
    "--older-than",
    type=SPAN,
    default="30d",
    show_default=True,
    help="Only ranges whose events are all older than this.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be archived, and change nothing.")
@click.option("--data", type=click.Path(path_type=Path), help="The data directory [PANDAR_DATA].")
@as_json
def archive(*, older_than: int, dry_run: bool, data: Path | None, as_json: bool) -> None:
    """Move old events to files.

    Whole ranges of the log, a million events each, go to PANDAR_ARCHIVE and stay readable by
    everything that reads events. Keep copies of these files as of the database. Ending it at any
    moment loses nothing. With --json it prints {"archived"}, or {"due"} with --dry-run.
    """
    given = warnings_only(settings(data))
    if dry_run:
        _say_due(given, older_than, json=as_json)
    else:
        _archive(given, older_than, json=as_json)


def _say_due(given: Settings, older_than: int, *, json: bool) -> None:
    from pandar_daemon import wiring  # noqa: PLC0415

    due = asyncio.run(wiring.due_for_archive(given, older_than))
    if json:
        say_json({"due": due})
    else:
        lines = [f"would archive positions {span.first:,} to {span.last:,}\n" for span in due]
        say("".join(lines) or "nothing to archive\n")


def _archive(given: Settings, older_than: int, *, json: bool) -> None:
    from pandar_daemon import wiring  # noqa: PLC0415
    from pandar_daemon.cli.progress import ProgressLine  # noqa: PLC0415

    with ProgressLine() as progress:
        done = asyncio.run(wiring.archive(given, older_than, progress.show))
    if json:
        say_json({"archived": done})
        return
    for each in done:
        span, manifest = each.archived.span, each.archived.manifest
        say(f"archived positions {span.first:,} to {span.last:,}: {manifest}\n")
    if done:
        say(f"{done[-1].kept:,} events of streams that go on stay in the database\n")
    else:
        say("nothing to archive\n")
