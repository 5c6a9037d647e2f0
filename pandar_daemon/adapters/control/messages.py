"""The messages of the control door, and how long they may be."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from pandar_daemon.ports import Order

ORDER_MAX: Final = 262_144
"""Bytes of an order; more than Linux lets a program have as arguments is not needed."""
PIECE_MAX: Final = 32_768
"""Bytes shown in one message, before they are written as base64."""
HEAD: Final = 4

Text = Annotated[str, Meta(max_length=131_072)]


class Wanted(Struct, frozen=True, forbid_unknown_fields=True):
    """An order as it is written."""

    tool: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,31}\Z")]
    argv: Annotated[tuple[Text, ...], Meta(max_length=2_000)] = ()
    cwd: Annotated[str, Meta(pattern=r"^/[^\x00]*\Z", max_length=4_096)] = "/"


class Piece(Struct, frozen=True, omit_defaults=True):
    """What a client hears."""

    out: bytes = b""
    err: bytes = b""
    file: bytes = b""
    exit: int | None = None
    run: tuple[str, ...] | None = None
    env: dict[str, str] = {}


def order_of(body: bytes) -> Order:
    """Return what is ordered; raises ``ValueError`` for what is no order."""
    wanted = msgspec.json.decode(body, type=Wanted)
    return Order(tool=wanted.tool, argv=wanted.argv, cwd=wanted.cwd)


def written(piece: Piece) -> bytes:
    """Return a message as it is sent."""
    body = msgspec.json.encode(piece)
    return len(body).to_bytes(HEAD, "big") + body
