"""``pandar url``."""

from __future__ import annotations

from pathlib import Path

import click

from pandar_daemon.cli.output import CliError, Exit
from pandar_daemon.cli.settings import settings


@click.command()
@click.argument("server", type=click.Choice(["nats", "api", "postgres"]))
@click.option("--data", type=click.Path(path_type=Path), help="The data directory [PANDAR_DATA].")
def url(server: str, data: Path | None) -> None:
    """Print where a server of the Pandar running here is.

    Prints the URL and nothing else. Those of NATS and Postgres hold their passwords: keep them
    off screens and logs. That of the embedded NATS is for reading events and sending commands.

    \b
    python subscribe.py "$(pandar url nats)" 42
    psql "$(pandar url postgres)"
    """  # noqa: D301 - click's mark for a paragraph to leave as it is
    from pandar_daemon import wiring  # noqa: PLC0415

    chosen = settings(data)
    place = wiring.announced(chosen.data)
    if place is None:
        raise CliError(
            f"no Pandar runs on {chosen.data}",
            "`pandar up` starts one; --data or PANDAR_DATA name another data directory",
            code=Exit.UNREACHABLE,
        )
    urls = {
        "nats": place.nats_reader_url or place.nats_url,
        "api": place.api_url,
        "postgres": place.database_url,
    }
    click.echo(urls[server])
