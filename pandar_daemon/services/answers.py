"""The first answer to a command: kept with its events, given again to whoever repeats it."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from events import commands as do
from events.ids import id_of
from events.problem import Problem
from events.task import Status
from pandar_daemon.domain.refusals import CommandIdReused, Refusal
from pandar_daemon.ports import Receipt
from pandar_daemon.services.requests import Request


class Kept(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer as the log keeps it."""

    id: int | str | None = None
    status: Status | None = None
    problem: Problem | None = None


def accepted(stream: str, kept: Kept, position: int, version: int) -> do.Accepted:
    """Return the answer of a command whose last event stands there."""
    return do.Accepted(
        stream=stream,
        id=kept.id if kept.id is not None else id_of(stream),
        position=position,
        version=version,
        status=kept.status,
    )


def replay(request: Request, receipt: Receipt) -> do.Accepted:
    """Return the first answer again, or raise the first refusal.

    Raises `CommandIdReused` when another request has the command id.
    """
    if receipt.request_sha256 != request.sha256:
        raise CommandIdReused(request.command_id)
    kept = msgspec.json.decode(receipt.answer, type=Kept)
    if kept.problem is not None:
        raise Refusal(kept.problem)
    return accepted(receipt.stream, kept, receipt.position, receipt.version)
