"""``pandar project``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from pandar_daemon.cli.reach import as_json, asks, talk
from pandar_daemon.cli.secrets import secret

_F = TypeVar("_F", bound=Callable[..., object])


def _about(command: _F) -> _F:
    """Give a command the options that say what a project is about."""
    for option in (
        click.option("--description", help="What it is for."),
        click.option("--setup", help="A shell command that makes a fresh clone ready."),
        click.option(
            "--base-branch", help="The branch tasks begin at  [default: the repository's own]"
        ),
        click.option(
            "--git", "--git-url", "git_url", help="Its repository: a URL or an absolute path."
        ),
    ):
        command = option(command)
    return command


@click.group()
def project() -> None:
    """Make projects and look at them."""


@project.command()
@click.argument("name")
@_about
@as_json
@asks
@click.pass_context
def create(ctx: click.Context, /, *, name: str, as_json: bool, **about: str | None) -> None:
    """Make a project; you own it."""
    from pandar_daemon.cli.showing import say_project  # noqa: PLC0415

    body = {"name": name, **_stated(about)}
    say_project(talk(ctx, lambda api: api.post("/projects", body)), json=as_json)


@project.command()
@click.argument("project_id", type=int)
@click.option("--name", help="What people call it.")
@_about
@as_json
@asks
@click.pass_context
def update(ctx: click.Context, /, *, project_id: int, as_json: bool, **about: str | None) -> None:
    """Give a project new values; what is not named stays, and "" empties it."""
    from pandar_daemon.cli.showing import say_project  # noqa: PLC0415

    body = _stated(about)
    if not body:
        raise click.UsageError("say what is to change, for example --base-branch main")
    say_project(talk(ctx, lambda api: api.put(f"/projects/{project_id}", body)), json=as_json)


def _stated(about: dict[str, str | None]) -> dict[str, object]:
    return {field: value for field, value in about.items() if value is not None}


@project.command("list")
@as_json
@asks
@click.pass_context
def list_(ctx: click.Context, *, as_json: bool) -> None:
    """List the projects you may see."""
    from pandar_daemon.cli.showing import say_projects  # noqa: PLC0415

    say_projects(talk(ctx, lambda api: api.get("/projects", {"limit": "100"})), json=as_json)


@project.command()
@click.argument("project_id", type=int)
@as_json
@asks
@click.pass_context
def show(ctx: click.Context, *, project_id: int, as_json: bool) -> None:
    """Show one project and its members."""
    from pandar_daemon.cli.showing import say_project  # noqa: PLC0415

    say_project(talk(ctx, lambda api: api.get(f"/projects/{project_id}")), json=as_json)


project.add_command(secret)
