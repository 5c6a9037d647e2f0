"""``pandar up`` and ``pandar serve``: the daemon itself, in the foreground."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pandar_daemon.cli.output import CliError, say
from pandar_daemon.cli.settings import settings

if TYPE_CHECKING:
    from pandar_daemon.cli.look import Look
    from pandar_daemon.wiring import Ready

ROLES: Final = (
    *("api", "commands", "relay", "projector", "runner", "scheduler", "reaper"),
    "notifier",
)
_data = click.option(
    "--data", type=click.Path(path_type=Path), help="The data directory [PANDAR_DATA]."
)
_verbose = click.option("-v", "--verbose", is_flag=True, help="Show the log here, as it is made.")


@click.command()
@_data
@_verbose
def up(*, data: Path | None, verbose: bool) -> None:
    """Start Pandar, with its own Postgres and NATS.

    Ctrl-C stops it in order. With PANDAR_DATABASE_URL or PANDAR_NATS_URL set, these servers are
    used instead. When it is ready, one line says so, and where.
    """
    from pandar_daemon import wiring  # noqa: PLC0415
    from pandar_daemon.cli.log_output import to_file, to_terminal  # noqa: PLC0415
    from pandar_daemon.cli.output import out_look  # noqa: PLC0415

    chosen = settings(data)
    if wiring.is_embedded_running(chosen.data):
        raise CliError(f"Pandar runs already on {chosen.data}", "`pandar up --data` another one")
    if verbose:
        to_terminal(chosen)
    else:
        to_file(chosen)
    look = out_look()
    say(banner(chosen.data, look))
    _until_stopped(lambda stop: wiring.up(chosen, lambda ready: say(ready_text(ready, look)), stop))


@click.command()
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(ROLES),
    help="One of its roles; repeatable  [default: all]",
)
@_data
@_verbose
def serve(*, roles: tuple[str, ...], data: Path | None, verbose: bool) -> None:
    """Run some of Pandar's roles, against servers of yours.

    PANDAR_DATABASE_URL and PANDAR_NATS_URL say where they are. Logs go to stderr, as JSON lines
    unless a person sits there.
    """
    from pandar_daemon import wiring  # noqa: PLC0415
    from pandar_daemon.cli.log_output import to_stderr, to_terminal  # noqa: PLC0415

    chosen = settings(data)
    (to_terminal if verbose or sys.stderr.isatty() else to_stderr)(chosen)
    _until_stopped(lambda stop: wiring.serve(chosen, set(roles or ROLES), stop))


def _until_stopped(work: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run ``work`` with an event that Ctrl-C and SIGTERM set; a second Ctrl-C ends it at once."""

    async def watched() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def asked() -> None:
            stop.set()
            loop.remove_signal_handler(signal.SIGINT)

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, asked)
        await work(stop)

    asyncio.run(watched())


def banner(data: Path, look: Look) -> str:
    """Return what is said before anything is started."""
    from pandar_daemon import __version__  # noqa: PLC0415

    name = "\x1b[1mPandar\x1b[0m" if look.colour else "Pandar"
    log = f"{short(data)}/pandar.log"
    return f"{name} {__version__}  data {short(data)}  log {log}\n"


def short(path: Path) -> str:
    """Return a path with ``~`` for the home directory, quoted for a shell where it must be."""
    try:
        below = path.relative_to(Path.home())
    except ValueError:
        return shlex.quote(str(path))
    return f"~/{shlex.quote(str(below))}"


def ready_text(ready: Ready, look: Look) -> str:
    """Return the one line that starts with ``ready``, and a request to paste."""
    token = short(Path(ready.token_file))
    word = "\x1b[1;32mready\x1b[0m" if look.colour else "ready"
    return (
        f"{word}  {ready.url}  token {token}  ({ready.seconds:.1f} s)\n\n"
        f"  curl -X POST {ready.url}/api/v1/tasks \\\n"
        f'    -H "Authorization: Bearer $(cat {token})" -H "Content-Type: application/json" \\\n'
        """    -d '{"name":"Hello","command":"echo hello from Pandar","project_id":1}'\n\n"""
    )
