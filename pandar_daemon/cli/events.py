"""``pandar events``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pandar_daemon.cli.reach import as_json, asks, talk

if TYPE_CHECKING:
    from pandar_daemon.cli.api_client import Api


@click.group()
def events() -> None:
    """Watch what happens."""


@events.command()
@click.option(
    "--from", "first", type=click.IntRange(1), help="From this position on  [default: now]"
)
@click.option("--task", "task_id", type=int, help="Only those of one task.")
@click.option("--project", "project_id", type=int, help="Only those of one project.")
@click.option("--type", "types", multiple=True, help="A type or a category: task.failed, project.")
@as_json
@asks
@click.pass_context
def tail(
    ctx: click.Context,
    *,
    first: int | None,
    task_id: int | None,
    project_id: int | None,
    types: tuple[str, ...],
    as_json: bool,
) -> None:
    """Print events as they happen.

    Until Ctrl-C; a lost connection neither loses nor repeats any. With --json it prints each as
    a line, as the log has it: {"position", "type", "data", …}.
    """
    from pandar_daemon.cli.event_lines import print_events  # noqa: PLC0415

    params = {"type": ",".join(types)} if types else {}
    if project_id is not None:
        params["project_id"] = str(project_id)

    async def watch(api: Api) -> None:
        await print_events(api, params, first=first, task_id=task_id, json=as_json)

    talk(ctx, watch)
