"""``pandar notify``: what receivers of messages need to know."""

from __future__ import annotations

from pathlib import Path

import click

from pandar_daemon.cli.reach import InOrder


@click.group(cls=InOrder)
def notify() -> None:
    """Show what receivers of messages need to know."""


@notify.command()
@click.argument("url")
@click.option("--data", type=click.Path(path_type=Path), help="The data directory [PANDAR_DATA].")
def secret(url: str, data: Path | None) -> None:
    """Print the secret that signs webhooks to an address.

    Prints the secret and nothing else; a second line is the one before, while it is still good.
    The address is without `webhook:`, as its receiver knows it.
    """
    from pandar_daemon.cli.settings import settings  # noqa: PLC0415
    from pandar_daemon.wiring.notifying import webhook_secrets  # noqa: PLC0415

    for line in webhook_secrets(settings(data), url.removeprefix("webhook:")):
        click.echo(line)
