"""``pandar task diff``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from pandar_daemon.cli.reach import as_json, asks, talk

if TYPE_CHECKING:
    from pandar_daemon.cli.api_client import Api


@click.command()
@click.argument("task_id", type=int)
@click.option("--stat", is_flag=True, help="A line for each file instead of the patch.")
@click.option("--checkpoint", metavar="N-N", help="As it was then  [default: the latest]")
@as_json
@asks
@click.pass_context
def diff(
    ctx: click.Context, *, task_id: int, stat: bool, checkpoint: str | None, as_json: bool
) -> None:
    """Print what a task changed, as a patch.

    On a terminal control characters are made harmless; elsewhere it is as `git apply` takes it.
    """
    form = "json" if as_json else "stat" if stat else "patch"
    params = {"format": form, **({"checkpoint": checkpoint} if checkpoint else {})}
    data = talk(ctx, lambda api: _read(api, f"/tasks/{task_id}/diff", params))
    _say(data + (b"\n" if as_json else b""))


async def _read(api: Api, path: str, params: dict[str, str]) -> bytes:
    async with api.stream(path, params) as answer:
        return await answer.read()


def _say(data: bytes) -> None:
    from pandar_daemon.cli.harmless import harmless  # noqa: PLC0415
    from pandar_daemon.cli.output import say  # noqa: PLC0415

    if sys.stdout.isatty():
        say(harmless(data.decode(errors="replace")))
        return
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
