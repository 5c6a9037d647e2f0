"""``pandar pending`` and ``pandar task link``: what waits for people, and how they decide it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import click

from pandar_daemon.cli.reach import as_json, asks, talk

if TYPE_CHECKING:
    from pandar_daemon.cli.api_client import Api


@click.command()
@click.option("--project", "project_id", type=int, help="Only what waits in one project.")
@click.option(
    "--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="At most."
)
@as_json
@asks
@click.pass_context
def pending(ctx: click.Context, *, project_id: int | None, limit: int, as_json: bool) -> None:
    """List what waits for somebody to decide.

    The nearest deadline comes first.
    """
    params = {"limit": str(limit)}
    if project_id is not None:
        params["project_id"] = str(project_id)
    talk(ctx, lambda api: _list(api, params, json=as_json))


async def _list(api: Api, params: dict[str, str], *, json: bool) -> None:
    from pandar_daemon.adapters.clock import SystemClock  # noqa: PLC0415
    from pandar_daemon.cli.output import out_look, say, say_json  # noqa: PLC0415
    from pandar_daemon.cli.pending_table import PendingRow, pending_list  # noqa: PLC0415
    from pandar_daemon.cli.rows import read  # noqa: PLC0415

    page = await api.get("/confirmations", params)
    if json:
        say_json(page)
        return
    rows = [read(PendingRow, item) for item in page.get("items", [])]
    more = page.get("next_cursor") is not None
    say(pending_list(rows, SystemClock().now(), out_look(), more=more))


@click.command()
@click.argument("task_id", type=int)
@click.option(
    "--id", "confirmation", type=click.UUID, help="Which confirmation  [default: the pending one]"
)
@as_json
@asks
@click.pass_context
def link(ctx: click.Context, *, task_id: int, confirmation: UUID | None, as_json: bool) -> None:
    """Print an address where you decide what a task waits for.

    It works once, without a token: whoever has it decides as you.
    """
    from pandar_daemon.cli.output import note, say, say_json  # noqa: PLC0415

    body: dict[str, object] = {"confirmation_id": str(confirmation)} if confirmation else {}
    made = talk(ctx, lambda api: api.post(f"/tasks/{task_id}/link", body))
    if as_json:
        say_json(made)
        return
    say(f"{made['url']}\n")
    note("whoever has this address decides as you, once")
