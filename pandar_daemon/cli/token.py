"""``pandar token``."""

from __future__ import annotations

from pathlib import Path

import click

from pandar_daemon.cli.values import SPAN


@click.command()
@click.option("--user", default="1", show_default=True, help="Who the token speaks for.")
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(["admin", "user", "viewer", "runner"]),
    help="What they may do at most; repeatable  [default: admin]",
)
@click.option("--ttl", type=SPAN, default="30d", show_default=True, help="How long it is valid.")
@click.option("--data", type=click.Path(path_type=Path), help="The data directory [PANDAR_DATA].")
def token(user: str, roles: tuple[str, ...], ttl: int, data: Path | None) -> None:
    """Make a token for the API.

    Prints the token and nothing else. It is signed with the secret in the data directory;
    whoever can read that is an administrator.
    """
    from pandar_daemon import wiring  # noqa: PLC0415
    from pandar_daemon.cli.settings import settings  # noqa: PLC0415

    click.echo(wiring.mint_token(settings(data), user, list(roles or ("admin",)), ttl))
