"""``pandar migrate``, ``rebuild`` and ``epoch``: rare, deliberate acts on the data."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from pandar_daemon.cli.log_output import warnings_only
from pandar_daemon.cli.output import say, say_json
from pandar_daemon.cli.reach import as_json
from pandar_daemon.cli.settings import settings
from projections.models import MODELS

_data = click.option(
    "--data", type=click.Path(path_type=Path), help="The data directory [PANDAR_DATA]."
)


@click.command()
@_data
@as_json
def migrate(*, data: Path | None, as_json: bool) -> None:
    """Bring the database to this release.

    Does nothing when it is there. With --json it prints {"applied"}.
    """
    from pandar_daemon import wiring  # noqa: PLC0415

    applied = asyncio.run(wiring.migrate(warnings_only(settings(data))))
    if as_json:
        say_json({"applied": applied})
    else:
        say("".join(f"applied {name}\n" for name in applied) or "nothing to apply\n")


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...", type=click.Choice(list(MODELS)))
@click.option("--all", "everything", is_flag=True, help="All of them.")
@_data
def rebuild(*, models: tuple[str, ...], everything: bool, data: Path | None) -> None:
    """Make read models anew from the log.

    They are built beside those in use, and swapped when complete.
    """
    from pandar_daemon import wiring  # noqa: PLC0415
    from pandar_daemon.cli.progress import ProgressLine  # noqa: PLC0415

    if bool(models) == everything:
        raise click.UsageError("name the read models, or say --all")
    with ProgressLine() as progress:
        asyncio.run(wiring.rebuild(warnings_only(settings(data)), list(models), progress.show))
    say(f"rebuilt {', '.join(progress.seen or models) or 'everything'}\n")


@click.group()
def epoch() -> None:
    """Go on after a restored backup."""


@epoch.command()
@click.option("--yes", is_flag=True, help="Yes, the events only the bus has are given up.")
@_data
@as_json
def advance(*, yes: bool, data: Path | None, as_json: bool) -> None:
    """Begin a new stream, where the bus has more than the log.

    That happens when Postgres was restored from a backup: what came after it is on the bus only.
    The old stream stays as it is; subscribers go on with the new one.
    """
    from pandar_daemon import wiring  # noqa: PLC0415

    if not yes:
        raise click.UsageError(
            "this gives up the events that only the bus has; say --yes when that is meant"
        )
    number = asyncio.run(wiring.advance_epoch(warnings_only(settings(data))))
    if as_json:
        say_json({"epoch": number})
    else:
        say(f"events now go to PANDAR_EVENTS_{number}\n")
