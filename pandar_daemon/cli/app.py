"""The group of all commands, and how each of them ends.

Starting must be quick: this module imports click and nothing slower, a command's module is
imported when it is called, and what draws or connects when it draws or connects.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

import click

_COMMANDS: Final = {
    "up": ("daemon:up", "Start Pandar, with its own Postgres and NATS."),
    "demo": ("demo:demo", "See a task, its gate and its approval, in a minute."),
    "serve": ("daemon:serve", "Run some of Pandar's roles, against servers of yours."),
    "task": ("tasks:task", "File tasks, look at them, decide."),
    "pending": ("pending:pending", "List what waits for somebody to decide."),
    "project": ("projects:project", "Make projects and look at them."),
    "secrets": ("secrets:secrets", "Keep the master key that secrets are sealed under."),
    "agents": ("agents:agents", "Install agents, and see which of them work."),
    "usage": ("usage:usage", "Sum what tasks consumed, and what that cost."),
    "guard": ("guard:guard", "Try commands on the guard."),
    "policy": ("policy:policy", "Try a policy on what happened."),
    "events": ("events:events", "Watch what happens."),
    "notify": ("notify:notify", "Show what receivers of messages need to know."),
    "token": ("token:token", "Make a token for the API."),
    "url": ("url:url", "Print where a server of the Pandar running here is."),
    "doctor": ("checks:doctor", "Say what is amiss on this machine, and what to do."),
    "verify": ("checks:verify", "Prove that log, bus and read models agree."),
    "migrate": ("upkeep:migrate", "Bring the database to this release."),
    "archive": ("archiving:archive", "Move old events to files."),
    "rebuild": ("upkeep:rebuild", "Make read models anew from the log."),
    "epoch": ("upkeep:epoch", "Go on after a restored backup."),
}
"""Where each command is, and its line in the help, which must not import it."""


class Lazy(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own shape
        """Return the names in the order people need them."""
        return list(_COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's own shape
        cmd_name: str,
    ) -> click.Command | None:
        """Return a command, imported, or ``None``."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        found = getattr(import_module(f"pandar_daemon.cli.{module}"), name)
        return found if isinstance(found, click.Command) else None

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's own shape
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


def _version(ctx: click.Context, _option: click.Parameter, asked: bool) -> None:
    if asked:
        from pandar_daemon import __version__  # noqa: PLC0415

        click.echo(f"pandar {__version__}")
        ctx.exit()


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_version,
    help="Say which release this is.",
)
@click.option("--url", help="Where the API is; see each command.")
@click.option("--token-file", help="A file that holds the token; see each command.")
@click.pass_context
def pandar(ctx: click.Context, url: str | None, token_file: str | None) -> None:
    """Run coding agents unattended, with lightweight approvals."""
    ctx.obj = {"url": url, "token_file": token_file}


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; never raises, never shows a traceback.

    ``PANDAR_DEBUG=1`` lets an error of the program itself through, for a report.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without UTF-8 is no error
    try:
        if "_PANDAR_COMPLETE" in os.environ:
            pandar.main(prog_name="pandar")
        with pandar.make_context("pandar", list(arguments)) as context:
            code = pandar.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _quiet(130)
    except BrokenPipeError:
        return _quiet(141)
    except Exception as error:
        if os.environ.get("PANDAR_DEBUG"):
            raise
        from pandar_daemon.cli.failures import told  # noqa: PLC0415

        return told(error)
    return code if isinstance(code, int) else 0


def _quiet(code: int) -> int:
    """Return ``code``; the interpreter's last flush must not complain about a closed pipe."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code
