"""The form that decides: read, checked, and turned into the command it amounts to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl
from uuid import UUID

from aiohttp import web

from events.calls import Scope
from events.commands import REASON_MAX, ConfirmTask, Decision
from pandar_daemon.adapters.http.deps import deps
from pandar_daemon.adapters.http.link_pages import NOT_FROM_PAGE, Stop
from pandar_daemon.adapters.http.pages.form import PATTERN_MAX, Entered

FORM_MAX: Final = 32_768
"""Bytes of a form that decides."""
_FIELDS_MAX: Final = 20


async def form_of(request: web.Request) -> Mapping[str, str]:
    """Return the fields of a form; stops at anything that is none."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise Stop(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, *NOT_FROM_PAGE)
    try:
        async with asyncio.timeout(deps(request).limits.body_sec):
            body = await _body(request)
        pairs = parse_qsl(body.decode("ascii"), max_num_fields=_FIELDS_MAX, errors="strict")
    except (ValueError, TimeoutError, web.RequestPayloadError):
        raise Stop(HTTPStatus.BAD_REQUEST, *NOT_FROM_PAGE) from None
    return {name: value.replace("\r\n", "\n").strip() for name, value in pairs}


async def _body(request: web.Request) -> bytes:
    body = b""
    while more := await request.content.readany():
        body += more
        if len(body) > FORM_MAX:
            raise Stop(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, *NOT_FROM_PAGE)
    return body


def entered_in(fields: Mapping[str, str]) -> Entered:
    """Return what somebody put into the form."""
    return Entered(
        decision=fields.get("decision", ""),
        reason=fields.get("reason", ""),
        choice=fields.get("choice", ""),
        scope=fields.get("scope") or "call",
        pattern=fields.get("pattern", ""),
    )


def order_of(
    entered: Entered, confirmation_id: UUID, card_sha256: str, link: str
) -> ConfirmTask | str:
    """Return the command a form amounts to, or what is wrong with it."""
    reason = _reason(entered)
    if entered.decision not in set(Decision):
        return "Choose what to do: approve, deny or request changes."
    if entered.decision == Decision.CHANGES and not reason:
        return "To request changes, say which."
    if len(reason) > REASON_MAX or len(entered.pattern) > PATTERN_MAX:
        return f"That is too long: a reason may have {REASON_MAX} characters."
    wide = Scope(entered.scope) if entered.scope in _SCOPES else Scope.CALL
    scope = wide if entered.decision == Decision.APPROVE else Scope.CALL
    if scope is Scope.PATTERN and not entered.pattern:
        return "An approval for a pattern needs the pattern."
    return ConfirmTask(
        decision=Decision(entered.decision),
        confirmation_id=confirmation_id,
        card_sha256=card_sha256,
        reason=reason,
        scope=scope,
        pattern=entered.pattern if scope is Scope.PATTERN else "",
        link=link,
    )


_SCOPES: Final = frozenset({Scope.CALL, Scope.EXECUTION, Scope.PATTERN})
"""What a link may approve: a grant for a whole project is for those who log in."""


def _reason(entered: Entered) -> str:
    """Return the words that go to the agent; a choice counts as words where it is the answer."""
    if entered.decision != Decision.CHANGES or not entered.choice:
        return entered.reason
    return f"{entered.choice}\n{entered.reason}".strip()
