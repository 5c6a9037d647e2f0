"""``pandar usage``."""

from __future__ import annotations

import click

from pandar_daemon.cli.reach import as_json, asks, talk
from pandar_daemon.cli.values import SPAN


@click.command()
@click.option(
    "--by",
    type=click.Choice(("day", "agent", "project", "task")),
    default="day",
    show_default=True,
    help="What to sum by.",
)
@click.option("--since", type=SPAN, default="30d", show_default=True, help="How far back.")
@click.option("--project", "project_id", type=int, help="Only that of one project.")
@click.option("--agent", help='Only that of one agent; "" is plain commands.')
@as_json
@asks
@click.pass_context
def usage(
    ctx: click.Context,
    *,
    by: str,
    since: int,
    project_id: int | None,
    agent: str | None,
    as_json: bool,
) -> None:
    """Sum what tasks consumed, and what that cost.

    Each run counts on the day, in UTC, on which it ended. Costs are at list price, as the agents
    tell them. With --json it prints the API's answer.
    """
    from pandar_daemon.adapters.clock import SystemClock  # noqa: PLC0415
    from pandar_daemon.cli.output import out_look, say, say_json  # noqa: PLC0415
    from pandar_daemon.cli.usage_table import first_day, usage_table  # noqa: PLC0415

    day = first_day(since, SystemClock().now())
    asked = {"by": by, "from": day, "agent": agent}
    asked["project_id"] = None if project_id is None else str(project_id)
    params = {key: value for key, value in asked.items() if value is not None}
    found = talk(ctx, lambda api: api.get("/usage", params))
    if as_json:
        say_json(found)
    else:
        say(usage_table(found, by, day, out_look()))
