"""Between nats-py's messages, the ports' `Message` and the error convention of NATS services."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import structlog
from msgspec import Struct
from nats.aio.msg import Msg

from events.problem import CONTENT_TYPE, Problem
from pandar_daemon.domain.refusals import Refusal, Unavailable
from pandar_daemon.ports import Handler, Message

log = structlog.get_logger(__name__)

ERROR_CODE = "Nats-Service-Error-Code"
ERROR_TITLE = "Nats-Service-Error"

_INTERNAL = Problem(type="urn:pandar:problem:internal", title="Internal error", status=500)
_SERVER_FAULT = 500


class Answer(Struct, frozen=True, kw_only=True):
    """What goes back: a body, or a problem with the headers that say so."""

    status: int
    body: bytes
    headers: Mapping[str, str]


def message(msg: Msg) -> Message:
    """Return a message of ours; header names in lower case, the last of equal ones wins."""
    headers = {name.lower(): value for name, value in (msg.headers or {}).items()}
    return Message(subject=msg.subject, body=msg.data, headers=headers)


def answered(body: bytes) -> Answer:
    """Return the answer to a request that was granted."""
    return Answer(status=200, body=body, headers={"Content-Type": "application/json"})


def refused(problem: Problem) -> Answer:
    """Return the answer that carries a problem."""
    return Answer(
        status=problem.status,
        body=msgspec.json.encode(problem),
        headers={
            ERROR_CODE: str(problem.status),
            ERROR_TITLE: problem.title,
            "Content-Type": CONTENT_TYPE,
        },
    )


async def outcome(handler: Handler, asked: Message) -> bytes | Problem:
    """Return what a handler answers; what it did not mean to raise is logged and not told."""
    try:
        return await handler(asked)
    except Refusal as refusal:
        return refusal.problem
    except Exception:
        log.exception("request.failed", subject=asked.subject)
        return _INTERNAL


async def attempt(handler: Handler, asked: Message) -> Answer:
    """Return the answer to what a handler was asked, whatever comes of it."""
    said = await outcome(handler, asked)
    return refused(said) if isinstance(said, Problem) else answered(said)


def granted(answer: Message) -> bytes:
    """Return the body of an answer.

    Raises the `Refusal` it carries; `Unavailable` for a server's fault nobody explained.
    """
    code = answer.headers.get(ERROR_CODE.lower())
    if code is None:
        return answer.body
    raise _refusal(code, answer.body)


def _refusal(code: str, body: bytes) -> Refusal:
    try:
        return Refusal(msgspec.json.decode(body, type=Problem))
    except msgspec.MsgspecError:
        status = int(code) if code.isascii() and code.isdigit() and len(code) == 3 else 500  # noqa: PLR2004 - HTTP
        if status >= _SERVER_FAULT:
            return Unavailable("the other side failed without saying why; ask again later")
        title = "The request was refused without a reason we can read"
        return Refusal(Problem(type="about:blank", title=title, status=status))
