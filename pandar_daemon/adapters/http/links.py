"""Approval links: a page that asks, a form that decides, and what became of it.

The text in the address is the only secret, and its holder needs no other: whoever has it is the
approver it was made for. ``GET`` and ``HEAD`` never decide. A ``POST`` decides when it carries the
proof of the page's own form; it is then a command on the bus, sent as a service of Pandar's, and
the daemon judges the text, the approver and the state, in that very moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web
from aiohttp.typedefs import Handler
from msgspec import Struct

from events.calls import Scope
from events.commands import REASON_MAX, ConfirmTask, Decision
from events.problem import Problem
from pandar_daemon.adapters.http.approvers import may_decide
from pandar_daemon.adapters.http.bodies import answer
from pandar_daemon.adapters.http.deps import TOKEN, Deps, deps
from pandar_daemon.adapters.http.guesses import Guesses, address_of
from pandar_daemon.adapters.http.pages import page, texts
from pandar_daemon.adapters.http.pages.assets import ASSETS
from pandar_daemon.adapters.http.pages.form import PATTERN_MAX, Entered
from pandar_daemon.adapters.http.pages.page import Approval
from pandar_daemon.adapters.http.positions import caught_up, reached
from pandar_daemon.adapters.http.writing import send
from pandar_daemon.domain import links
from pandar_daemon.domain.refusals import Refusal, Unavailable
from pandar_daemon.ports import ApprovalLink

GUESSES: Final = web.AppKey("GUESSES", Guesses)
TELLING: Final = web.AppKey("TELLING", set[asyncio.Task[None]])

FORM_MAX: Final = 32_768
"""Bytes of a form that decides."""
_FIELDS_MAX: Final = 20
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self';"
        " connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Robots-Tag": "noindex, nofollow",
}
_FOREVER: Final = {"Cache-Control": "public, max-age=31536000, immutable"}


class _Stop(Exception):
    """There is nothing but this page to show."""

    def __init__(self, status: HTTPStatus, heading: str, *said: str, **headers: str) -> None:
        super().__init__(heading)
        self.answer = _html(page.plain(heading, *said), status, headers)


class _Known(Struct, frozen=True):
    """A link that was made, and what its page is about now."""

    token: str
    link: ApprovalLink
    approval: Approval


def paged(handler: Handler) -> Handler:
    """Return a handler whose refusals are pages, too."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except _Stop as stop:
            return stop.answer
        except (Unavailable, OSError):
            return _away().answer

    return handle


@paged
async def show(request: web.Request) -> web.Response:
    """Show what is asked, or what was decided; decides nothing."""
    known = await _known(request)
    if request.method == "GET":
        _tell(request, known.link)
    return _page(known.approval)


@paged
async def decide(request: web.Request) -> web.StreamResponse:
    """Decide as the approver of the link, once the form proves to come from its page."""
    known = await _known(request)
    fields = await _form(request)
    card_sha256 = fields.get("card_sha256", "")
    if not links.is_form_proof(fields.get("proof", ""), known.token, card_sha256):
        raise _Stop(HTTPStatus.FORBIDDEN, *_NOT_FROM_PAGE)
    entered = _entered(fields)
    order = _order(known, entered, card_sha256)
    if isinstance(order, str):
        return _page(known.approval, HTTPStatus.UNPROCESSABLE_ENTITY, entered, order)
    return await _sent(request, known, entered, order)


@paged
async def state(request: web.Request) -> web.Response:
    """Answer how things are, for the page's script."""
    known = await _known(request)
    return answer(page.state(known.approval), headers=_HEADERS)


async def asset(request: web.Request) -> web.Response:
    """Answer a file a page asks for."""
    found = ASSETS.get(request.match_info["name"])
    if found is None:
        raise web.HTTPNotFound
    headers = _FOREVER if request.query.get("v") == found.digest else {"Cache-Control": "no-cache"}
    return web.Response(
        body=found.body, content_type=found.content_type, charset="utf-8", headers=headers
    )


# --- what a link is about --------------------------------------------------------------------


async def _known(request: web.Request) -> _Known:
    """Return what the link in the path is about; stops where it is good for nothing."""
    token, guesses, who = request.match_info["token"], request.app[GUESSES], address_of(request)
    wait_sec = guesses.wait_sec(who)
    if wait_sec:
        retry = {"Retry-After": str(int(wait_sec) + 1)}
        raise _Stop(HTTPStatus.TOO_MANY_REQUESTS, *_TOO_MANY, **retry)
    link = await _link(deps(request), token)
    if link is None:
        guesses.note(who)
        raise _Stop(HTTPStatus.NOT_FOUND, *_UNKNOWN)
    if not await may_decide(deps(request), link.approver, link.project_id):
        raise _Stop(HTTPStatus.FORBIDDEN, _NOT_YOURS, f"It was made for {link.approver}.")
    return _Known(token, link, await _approval(deps(request), token, link))


async def _link(needs: Deps, token: str) -> ApprovalLink | None:
    if not links.is_secret(token):
        return None
    found = await needs.confirmations.link(links.sha256(token))
    if found is None:  # perhaps so new that the read model has not got it yet
        await caught_up(needs)
        found = await needs.confirmations.link(links.sha256(token))
    return found


async def _approval(needs: Deps, token: str, link: ApprovalLink) -> Approval:
    row = await needs.confirmations.get(link.confirmation_id)
    if row is None:
        raise _Stop(HTTPStatus.NOT_FOUND, *_UNKNOWN)
    return Approval(
        confirmation=row,
        task=await needs.tasks.get(link.task_id),
        approver=link.approver,
        now=needs.clock.now(),
        proof=links.form_proof(token, str(row["card_sha256"])),
    )


def _tell(request: web.Request, link: ApprovalLink) -> None:
    """Let it be known that somebody opened the page; nobody waits for that."""
    telling = request.app[TELLING]
    task = asyncio.create_task(deps(request).opened(link.confirmation_id, link.approver))
    telling.add(task)
    task.add_done_callback(telling.discard)


# --- deciding --------------------------------------------------------------------------------


async def _form(request: web.Request) -> Mapping[str, str]:
    """Return the fields of a form; stops at anything that is none."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise _Stop(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, *_NOT_FROM_PAGE)
    if (request.content_length or 0) > FORM_MAX:
        raise _Stop(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, *_NOT_FROM_PAGE)
    try:
        async with asyncio.timeout(deps(request).limits.body_sec):
            body = (await request.read())[: FORM_MAX + 1]
        pairs = parse_qsl(body.decode("ascii"), max_num_fields=_FIELDS_MAX, errors="strict")
    except (ValueError, TimeoutError, web.RequestPayloadError):
        raise _Stop(HTTPStatus.BAD_REQUEST, *_NOT_FROM_PAGE) from None
    return {name: value.replace("\r\n", "\n").strip() for name, value in pairs}


def _entered(fields: Mapping[str, str]) -> Entered:
    return Entered(
        decision=fields.get("decision", ""),
        reason=fields.get("reason", ""),
        choice=fields.get("choice", ""),
        scope=fields.get("scope") or "call",
        pattern=fields.get("pattern", ""),
    )


def _order(known: _Known, entered: Entered, card_sha256: str) -> ConfirmTask | str:
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
        confirmation_id=known.link.confirmation_id,
        card_sha256=card_sha256,
        reason=reason,
        scope=scope,
        pattern=entered.pattern if scope is Scope.PATTERN else "",
        link=known.token,
    )


_SCOPES: Final = frozenset({Scope.CALL, Scope.EXECUTION, Scope.PATTERN})
"""What a link may approve: a grant for a whole project is for those who log in."""


def _reason(entered: Entered) -> str:
    """Return the words that go to the agent; a choice counts as words where it is the answer."""
    if entered.decision != Decision.CHANGES or not entered.choice:
        return entered.reason
    return f"{entered.choice}\n{entered.reason}".strip()


async def _sent(
    request: web.Request, known: _Known, entered: Entered, order: ConfirmTask
) -> web.StreamResponse:
    needs = deps(request)
    request[TOKEN] = needs.own_token()
    try:
        sent = await send(
            request,
            "task.confirm",
            order,
            target=known.link.task_id,
            command_id=str(needs.clock.new_id()),
        )
    except Refusal as refusal:
        return await _refused(request, known, entered, refusal.problem)
    with suppress(Unavailable):
        await reached(needs, sent.accepted.position)
    return _html("", HTTPStatus.SEE_OTHER, {"Location": known.token})


async def _refused(
    request: web.Request, known: _Known, entered: Entered, problem: Problem
) -> web.Response:
    """Show what was decided before, or why the daemon does not take this decision."""
    status, said = HTTPStatus(problem.status), texts.sentence(problem.detail)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _page(known.approval, HTTPStatus.SERVICE_UNAVAILABLE, entered, _PERHAPS)
    if status not in _SETTLED:
        return _page(known.approval, status, entered, said)
    needs = deps(request)
    with suppress(Unavailable):
        await caught_up(needs)
    now = await _approval(needs, known.token, known.link)
    return _page(now, HTTPStatus.CONFLICT, entered, said, late=True)


_SETTLED: Final = frozenset({HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND})
"""What the daemon answers where the state, or another decision, stands against this one."""


# --- answers ---------------------------------------------------------------------------------


def _page(
    approval: Approval,
    status: HTTPStatus | None = None,
    entered: Entered | None = None,
    problem: str = "",
    *,
    late: bool = False,
) -> web.Response:
    ended = approval.is_pending or approval.confirmation["status"] in page.DECIDED
    shown = page.shown(approval, entered=entered, problem=problem, late=late)
    return _html(shown, status or (HTTPStatus.OK if ended else HTTPStatus.GONE))


def _html(text: str, status: HTTPStatus, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        text=text, status=status, content_type="text/html", headers={**_HEADERS, **(headers or {})}
    )


def _away() -> _Stop:
    return _Stop(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "One moment",
        "A part of Pandar is away. Nothing is lost: load this page again in a few seconds.",
        **{"Retry-After": "5"},
    )


_UNKNOWN: Final = (
    "This link does not work",
    "Nobody made such a link, or its task was deleted. Was its address copied whole?",
)
_NOT_YOURS: Final = "Whom this link was made for may not decide here any more"
_TOO_MANY: Final = (
    "Too many wrong links",
    "From your address somebody tried many links that do not exist. Try again in a minute.",
)
_NOT_FROM_PAGE: Final = (
    "Nothing was decided",
    "This did not come from the page of the link. Open the link, look at it, and decide there.",
)
_PERHAPS: Final = (
    "It is not known whether that worked. Nothing is lost: press again, or load this page again."
)
