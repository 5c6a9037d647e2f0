"""Every write of the API: a command, sent with the caller's token, and its answer.

Who answers commands decides and appends. The body of an answer is then folded from the log
up to the command's own position, so that a caller sees exactly what they caused, and a repeated
``Idempotency-Key`` gives the same body again.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple
from uuid import UUID

import msgspec
from aiohttp import web

from events import subjects
from events.commands import Accepted, Command
from events.ids import task_stream
from pandar_daemon.adapters.http.bodies import answer
from pandar_daemon.adapters.http.deps import REQUEST_ID, TOKEN, TRACEPARENT, deps
from pandar_daemon.adapters.http.params import etag, idempotency_key, if_match
from pandar_daemon.domain.refusals import NotFound
from projections import tasks as task_rows

_accepted = msgspec.json.Decoder(Accepted)


class Sent(NamedTuple):
    """A command that was accepted."""

    command_id: str
    accepted: Accepted

    @property
    def headers(self) -> dict[str, str]:
        """Return what every answer to a write says of it."""
        return {
            "Pandar-Command-Id": self.command_id,
            "Pandar-Position": str(self.accepted.position),
            "ETag": etag(self.accepted.version),
        }


async def send(
    request: web.Request,
    action: str,
    command: Command,
    *,
    project: int | None = None,
    target: int | UUID | None = None,
    command_id: str | None = None,
) -> Sent:
    """Send a command as the caller and return what became of it.

    ``command_id`` defaults to the ``Idempotency-Key``, else to a fresh one. Raises the `Refusal`
    the daemon answered with, `Unavailable` when it did not.
    """
    needs = deps(request)
    command_id = command_id or idempotency_key(request) or str(needs.clock.new_id())
    body = await needs.sender.ask(
        subjects.command(action, project, target),
        msgspec.json.encode(command),
        headers=_headers(request, command_id),
    )
    return Sent(command_id, _accepted.decode(body))


async def send_own(
    request: web.Request, action: str, command: Command, *, target: int | UUID
) -> Sent:
    """Send a command as the API itself, which a request made necessary; raises as `send`."""
    needs = deps(request)
    command_id = str(needs.clock.new_id())
    headers = {**_headers(request, command_id), "Pandar-Token": needs.own_token()}
    headers.pop("Pandar-Expected-Version", None)
    subject, body = subjects.command(action, None, target), msgspec.json.encode(command)
    answered = await needs.sender.ask(subject, body, headers=headers)
    return Sent(command_id, _accepted.decode(answered))


def _headers(request: web.Request, command_id: str) -> Mapping[str, str]:
    headers = {
        "Pandar-Command-Id": command_id,
        "Pandar-Token": request[TOKEN],
        "Pandar-Correlation-Id": request[REQUEST_ID],
        "traceparent": request[TRACEPARENT],
    }
    version = if_match(request)
    return headers if version is None else {**headers, "Pandar-Expected-Version": str(version)}


async def task_answer(request: web.Request, sent: Sent) -> web.Response:
    """Return the task as the command left it; raises `NotFound` when it left none."""
    needs = deps(request)
    number = int(sent.accepted.id)
    history = await needs.store.read_stream(task_stream(number), up_to=sent.accepted.position)
    row = task_rows.as_of(history, needs.clock.now())
    if row is None:
        raise NotFound(f"task {number}")
    return answer(row, headers=sent.headers)


def created(reply: web.Response, location: str) -> web.Response:
    """Return an answer as that of a creation."""
    reply.set_status(HTTPStatus.CREATED)
    reply.headers["Location"] = location
    return reply
