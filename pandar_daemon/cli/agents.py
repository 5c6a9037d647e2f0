"""``pandar agents``: install agents, list them, and see which of them work."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pandar_daemon.cli.log_output import warnings_only
from pandar_daemon.cli.output import Exit, out_look, say, say_json
from pandar_daemon.cli.reach import InOrder, as_json
from pandar_daemon.cli.settings import settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pandar_daemon.wiring.agents import Agent

_data = click.option(
    "--data", type=click.Path(path_type=Path), help="The data directory [PANDAR_DATA]."
)


@click.group(cls=InOrder)
def agents() -> None:
    """Install agents, and see which of them work."""


@agents.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@_data
@as_json
def install(*, names: tuple[str, ...], data: Path | None, as_json: bool) -> None:
    """Install agents with npm, all of them when none is named.

    In the versions this release is made for, checked by hash, under the data directory; 100 to 500
    MB each. What was there is replaced. With --json it prints {"installed"}.
    """
    from pandar_daemon.wiring.agents import install_agents  # noqa: PLC0415

    begun = _tell if not as_json else _keep_quiet
    try:
        done = install_agents(warnings_only(settings(data)), names, begun)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        say_json({"installed": done})
    else:
        say("".join(f"installed {agent.name} {agent.installed}\n" for agent in done))


@agents.command("list")
@_data
@as_json
def list_(*, data: Path | None, as_json: bool) -> None:
    """List the agents a task can ask for, and what each still needs.

    With --json it prints {"agents"}.
    """
    from pandar_daemon.wiring.agents import agents as found  # noqa: PLC0415

    here = found(warnings_only(settings(data)))
    if as_json:
        say_json({"agents": here})
    else:
        say(agents_text(here))


@agents.command()
@_data
@as_json
def doctor(*, data: Path | None, as_json: bool) -> Exit:
    """Start each agent that is set up, say whether it works, and what to do.

    Nothing is asked of a model. Exits with 1 when one of them does not work. With --json it
    prints {"ok", "checks"}.
    """
    from pandar_daemon.cli.checks import checks_text  # noqa: PLC0415
    from pandar_daemon.wiring.agents import check_agents  # noqa: PLC0415

    checks = asyncio.run(check_agents(warnings_only(settings(data))))
    fine = all(check.ok is not False for check in checks)
    if as_json:
        say_json({"ok": fine, "checks": checks})
    else:
        say(checks_text(checks, out_look()))
    return Exit.OK if fine else Exit.FAILED


def agents_text(agents: Sequence[Agent]) -> str:
    """Return a line for each agent: its name, its version, and what it needs."""
    width = max((len(agent.name) for agent in agents), default=0)
    lines = [f"{agent.name:{width}}  {_state(agent)}\n" for agent in agents]
    return "".join(lines)


def _state(agent: Agent) -> str:
    version = agent.installed or "-"
    if agent.installed and agent.installed != agent.pinned:
        version += f" (this release is made for {agent.pinned})"
    return f"{version:10}  {agent.missing or 'ready'}"


def _tell(name: str) -> None:
    click.echo(f"installing {name} …", err=True)


def _keep_quiet(_name: str) -> None:
    pass
