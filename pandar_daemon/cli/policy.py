"""``pandar policy``: what another policy would have done."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from pandar_daemon.cli.log_output import warnings_only
from pandar_daemon.cli.output import out_look, say, say_json
from pandar_daemon.cli.reach import as_json
from pandar_daemon.cli.settings import settings
from pandar_daemon.cli.values import SPAN


@click.group()
def policy() -> None:
    """Try a policy on what happened."""


@policy.command("try")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--since", type=SPAN, default="30d", show_default=True, help="How far back.")
@click.option("--project", "project_id", type=int, help="Only the calls of one project.")
@click.option("--all", "everything", is_flag=True, help="Show calls that stay as they were, too.")
@click.option("--data", type=click.Path(path_type=Path), help="The data directory [PANDAR_DATA].")
@as_json
def try_(
    *,
    file: Path,
    since: int,
    project_id: int | None,
    everything: bool,
    data: Path | None,
    as_json: bool,
) -> None:
    """Judge past calls by FILE, and show what would change.

    FILE is TOML as pandar.toml is: policy, stop_at or a list of gates, [gates.NAME], [deny.NAME].
    What it states replaces what tasks stated; the rest stays as it was. Nothing is changed. With
    --json it prints {"totals", "calls"}, every call among them with --all.
    """
    from pandar_daemon.cli.policy_table import policy_table  # noqa: PLC0415
    from pandar_daemon.cli.progress import ProgressLine  # noqa: PLC0415
    from pandar_daemon.wiring.policy import try_policy  # noqa: PLC0415

    given = warnings_only(settings(data))
    with ProgressLine() as progress:
        trial = asyncio.run(try_policy(given, file, since, project_id, progress.show))
    shown = [call for call in trial.calls if everything or call.changed]
    if as_json:
        say_json({"totals": trial.totals, "calls": shown})
    else:
        say(policy_table(shown, trial.totals, out_look()))
