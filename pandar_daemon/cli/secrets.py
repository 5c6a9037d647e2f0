"""``pandar project secret`` and ``pandar secrets``. No value is ever an argument, or printed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final
from urllib.parse import quote

import click

from pandar_daemon.cli.output import CliError, Exit, say, say_json
from pandar_daemon.cli.reach import InOrder, as_json, asks, talk

_READ_MAX: Final = 65_536 + 2
"""Bytes of a value and of the end of its line; one more is too long, whatever there is."""


@click.group(cls=InOrder)
def secret() -> None:
    """Set what tasks of a project may use after consent, and what its repository takes."""


@secret.command("set")
@click.argument("project_id", type=int)
@click.argument("name")
@click.option(
    "--from-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take the value from a file.",
)
@click.option(
    "--use",
    type=click.Choice(["env", "git"]),
    default="env",
    help="What for: env (default), for commands; git, for the repository.",
)
@click.option("--description", default="", help="What it is, for people.")
@as_json
@asks
@click.pass_context
def set_(
    ctx: click.Context,
    *,
    project_id: int,
    name: str,
    from_file: Path | None,
    use: str,
    description: str,
    as_json: bool,
) -> None:
    """Give a secret a value, its first or another one.

    The value is read from a file, from stdin, or asked for on a terminal; without the end of its
    last line, as in `$(cat file)`. It is never an argument, which all users of a machine can see.
    """
    body = {"value": _value(name, from_file), "use": use, "description": description}
    path = f"/projects/{project_id}/secrets/{quote(name, safe='')}"
    row = talk(ctx, lambda api: api.put(path, body))
    if as_json:
        say_json(row)
    else:
        say(f"{name} is set in project {project_id}\n")


@secret.command("list")
@click.argument("project_id", type=int)
@as_json
@asks
@click.pass_context
def list_(ctx: click.Context, *, project_id: int, as_json: bool) -> None:
    """List names, uses, and who set them when; values cannot be read again."""
    from pandar_daemon.cli.secret_table import secret_list  # noqa: PLC0415

    document = talk(ctx, lambda api: api.get(f"/projects/{project_id}/secrets"))
    if as_json:
        say_json(document)
    else:
        say(secret_list(document, project_id))


@secret.command()
@click.argument("project_id", type=int)
@click.argument("name")
@asks
@click.pass_context
def remove(ctx: click.Context, *, project_id: int, name: str) -> None:
    """Let a secret be no more."""
    path = f"/projects/{project_id}/secrets/{quote(name, safe='')}"
    talk(ctx, lambda api: api.delete(path))
    say(f"{name} is no more in project {project_id}\n")


@click.group(cls=InOrder)
def secrets() -> None:
    """Keep the master key that secrets are sealed under."""


@secrets.command()
@as_json
@asks
@click.pass_context
def rekey(ctx: click.Context, *, as_json: bool) -> Exit:
    """Seal the data keys of all projects with the present master key.

    For an administrator, after a new PANDAR_MASTER_KEY was given and the one before as
    PANDAR_MASTER_KEY_OLD; exits with 1 when some cannot be opened. With --json it prints
    {"resealed", "present", "locked"}.
    """
    from pandar_daemon.cli.secret_table import rekeyed  # noqa: PLC0415

    document = talk(ctx, lambda api: api.post("/secrets/rekey", {}))
    if as_json:
        say_json(document)
    else:
        say(rekeyed(document))
    return Exit.FAILED if document.get("locked") else Exit.OK


def _value(name: str, file: Path | None) -> str:
    if file is None and sys.stdin.isatty():
        return str(click.prompt(f"Value of {name}", hide_input=True, err=True))
    try:
        data = _read(file)
        if len(data) > _READ_MAX:
            raise CliError("a value has at most 65,536 bytes", code=Exit.USAGE)
        text = data.decode()
    except OSError as error:
        raise CliError(f"{file}: {error.strerror}", code=Exit.USAGE) from error
    except UnicodeDecodeError as error:
        raise CliError("the value is not UTF-8 text: base64 it", code=Exit.USAGE) from error
    return text.removesuffix("\n").removesuffix("\r")


def _read(file: Path | None) -> bytes:
    if file is None:
        return sys.stdin.buffer.read(_READ_MAX + 1)
    with file.open("rb") as opened:
        return opened.read(_READ_MAX + 1)
