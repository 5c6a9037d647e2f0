"""The options of every command that asks the API: where it is, and who asks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

import click

if TYPE_CHECKING:
    from pandar_daemon.cli.api_client import Access, Api

_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., object])
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


class InOrder(click.Group):
    """A group whose help lists its commands as they were added: what people need first."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own shape
        """Return the names in that order."""
        return list(self.commands)


def asks(command: _F) -> _F:
    """Give a command ``--url`` and ``--token-file``; it reads them by `access`."""
    url = click.option(
        "--url",
        expose_value=False,
        callback=_remember,
        help="Where the API is [PANDAR_URL, else http://127.0.0.1:$PANDAR_HTTP_PORT or 8000].",
    )
    token_file = click.option(
        "--token-file",
        expose_value=False,
        callback=_remember,
        help="A file that holds the token [PANDAR_TOKEN, else the token `pandar up` wrote].",
    )
    return url(token_file(command))


def _remember(ctx: click.Context, option: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.obj = {**(ctx.obj or {}), str(option.name): value}


def access(ctx: click.Context) -> Access:
    """Return where and as whom to ask.

    The token of the daemon on this machine is offered to this machine only.
    """
    from pandar_daemon.cli.api_client import Access  # noqa: PLC0415

    given = ctx.obj or {}
    port = os.environ.get("PANDAR_HTTP_PORT") or "8000"
    url = given.get("url") or os.environ.get("PANDAR_URL") or f"http://127.0.0.1:{port}"
    if given.get("token_file"):
        return Access(url=url, token_file=Path(given["token_file"]))
    if os.environ.get("PANDAR_TOKEN"):
        return Access(url=url, token=os.environ["PANDAR_TOKEN"].strip())
    here = urlsplit(url).hostname in _LOOPBACK
    return Access(url=url, token_file=data_directory() / "token" if here else None)


def data_directory() -> Path:
    """Return where this machine's Pandar keeps its data."""
    from pandar_daemon.config import load  # noqa: PLC0415

    return load(os.environ, home=Path.home()).data


def talk(ctx: click.Context, conversation: Callable[[Api], Awaitable[_T]]) -> _T:
    """Return what a conversation with the API comes to."""
    from pandar_daemon.cli.api_client import Api  # noqa: PLC0415

    async def held() -> _T:
        async with Api(access(ctx)) as api:
            return await conversation(api)

    return asyncio.run(held())
