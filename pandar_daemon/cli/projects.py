"""``pandar project``."""

from __future__ import annotations

import click

from pandar_daemon.cli.reach import as_json, asks, talk
from pandar_daemon.cli.secrets import secret


@click.group()
def project() -> None:
    """Make projects and look at them."""


@project.command()
@click.argument("name")
@click.option("--git-url", default="", help="Where its repository is.")
@click.option("--description", default="", help="What it is for.")
@as_json
@asks
@click.pass_context
def create(ctx: click.Context, *, name: str, git_url: str, description: str, as_json: bool) -> None:
    """Make a project; you own it."""
    from pandar_daemon.cli.showing import say_project  # noqa: PLC0415

    body = {"name": name, "git_url": git_url, "description": description}
    say_project(talk(ctx, lambda api: api.post("/projects", body)), json=as_json)


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
