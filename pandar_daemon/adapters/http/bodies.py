"""JSON bodies in, JSON answers out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import TypeVar

import msgspec
from aiohttp import web
from msgspec import Struct

from events.commands import Command
from pandar_daemon.adapters.http.deps import deps
from pandar_daemon.adapters.http.problems import UnsupportedMedia
from pandar_daemon.domain.options import validate
from pandar_daemon.domain.reading import decode
from pandar_daemon.domain.refusals import Malformed

S = TypeVar("S", bound=Struct)
C = TypeVar("C", bound=Command)


async def raw(request: web.Request) -> bytes:
    """Return the body.

    Raises `UnsupportedMedia` for one labelled as other than JSON, `Malformed` for one that is not
    what its ``Content-Encoding`` says, or does not come to its end in time.
    """
    try:
        async with asyncio.timeout(deps(request).limits.body_sec):
            body = await request.read()
    except web.RequestPayloadError:
        raise Malformed("the body cannot be read: it is not encoded as its headers say") from None
    except TimeoutError:
        raise Malformed("the body did not come to its end in time") from None
    kind = request.content_type
    if body and kind != "application/json" and not kind.endswith("+json"):
        raise UnsupportedMedia(kind[:100])
    return body


async def read(request: web.Request, shape: type[S]) -> S:
    """Return the body as its shape; no body is ``{}`` where that says enough.

    Raises `Malformed`, or `Invalid` naming each field at fault.
    """
    return decode(await raw(request), shape)


async def command(request: web.Request, shape: type[C]) -> C:
    """Return the body as a command that breaks no rule which can be told without any state.

    Raises `Malformed`, or `Invalid` naming each field at fault.
    """
    wanted = await read(request, shape)
    needs = deps(request)
    validate(wanted, needs.agents, needs.clock.now(), needs.gates_of)
    return wanted


def answer(
    value: object, *, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return a value as JSON."""
    return web.Response(
        body=msgspec.json.encode(value),
        status=status,
        content_type="application/json",
        charset="utf-8",
        headers=headers,
    )
