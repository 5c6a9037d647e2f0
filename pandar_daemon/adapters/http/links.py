"""Approval links: a page that asks, a form that decides, and what became of it.

The text in the address is the only secret, and its holder needs no other: whoever has it is the
approver it was made for. ``GET`` and ``HEAD`` never decide. A ``POST`` decides when it carries the
proof of the page's own form; it is then a command on the bus, sent as a service of Pandar's, and
the daemon judges the text, the approver and the state, in that very moment.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from msgspec import Struct

from events.commands import ConfirmTask
from events.problem import Problem
from pandar_daemon.adapters.http.approvers import may_decide
from pandar_daemon.adapters.http.bodies import answer
from pandar_daemon.adapters.http.deps import TOKEN, Deps, deps
from pandar_daemon.adapters.http.guesses import Guesses, address_of
from pandar_daemon.adapters.http.link_forms import entered_in, form_of, order_of
from pandar_daemon.adapters.http.link_pages import (
    HEADERS,
    NOT_FROM_PAGE,
    NOT_YOURS,
    PERHAPS,
    TOO_MANY,
    UNKNOWN,
    Stop,
    away,
    html,
    page_of,
)
from pandar_daemon.adapters.http.pages import page, texts
from pandar_daemon.adapters.http.pages.assets import ASSETS
from pandar_daemon.adapters.http.pages.form import Entered
from pandar_daemon.adapters.http.pages.page import Approval
from pandar_daemon.adapters.http.positions import caught_up, reached
from pandar_daemon.adapters.http.writing import send
from pandar_daemon.domain import links
from pandar_daemon.domain.refusals import Refusal, Unavailable
from pandar_daemon.ports import ApprovalLink

GUESSES: Final = web.AppKey("GUESSES", Guesses)
TELLING: Final = web.AppKey("TELLING", set[asyncio.Task[None]])

_FOREVER: Final = {"Cache-Control": "public, max-age=31536000, immutable"}


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
        except Stop as stop:
            return stop.answer
        except (Unavailable, OSError):
            return away().answer

    return handle


@paged
async def show(request: web.Request) -> web.Response:
    """Show what is asked, or what was decided; decides nothing."""
    known = await _known(request)
    if request.method == "GET":
        _tell(request, known.link)
    return page_of(known.approval)


@paged
async def decide(request: web.Request) -> web.StreamResponse:
    """Decide as the approver of the link, once the form proves to come from its page."""
    known = await _known(request)
    fields = await form_of(request)
    card_sha256 = fields.get("card_sha256", "")
    if not links.is_form_proof(fields.get("proof", ""), known.token, card_sha256):
        raise Stop(HTTPStatus.FORBIDDEN, *NOT_FROM_PAGE)
    entered = entered_in(fields)
    order = order_of(entered, known.link.confirmation_id, card_sha256, known.token)
    if isinstance(order, str):
        return page_of(known.approval, HTTPStatus.UNPROCESSABLE_ENTITY, entered, order)
    return await _sent(request, known, entered, order)


@paged
async def state(request: web.Request) -> web.Response:
    """Answer how things are, for the page's script."""
    known = await _known(request)
    return answer(page.state(known.approval), headers=HEADERS)


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
        raise Stop(HTTPStatus.TOO_MANY_REQUESTS, *TOO_MANY, **retry)
    link = await _link(deps(request), token)
    if link is None:
        guesses.note(who)
        raise Stop(HTTPStatus.NOT_FOUND, *UNKNOWN)
    if not await may_decide(deps(request), link.approver, link.project_id):
        whose = f"It was made for {texts.person(link.approver)}."
        raise Stop(HTTPStatus.FORBIDDEN, NOT_YOURS, whose)
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
        raise Stop(HTTPStatus.NOT_FOUND, *UNKNOWN)
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
    return html("", HTTPStatus.SEE_OTHER, {"Location": known.token})


async def _refused(
    request: web.Request, known: _Known, entered: Entered, problem: Problem
) -> web.Response:
    """Show what was decided before, or why the daemon does not take this decision."""
    status, said = HTTPStatus(problem.status), texts.sentence(problem.detail)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return page_of(known.approval, HTTPStatus.SERVICE_UNAVAILABLE, entered, PERHAPS)
    if status not in _SETTLED:
        return page_of(known.approval, status, entered, said)
    needs = deps(request)
    with suppress(Unavailable):
        await caught_up(needs)
    now = await _approval(needs, known.token, known.link)
    return page_of(now, HTTPStatus.CONFLICT, entered, said, late=True)


_SETTLED: Final = frozenset({HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND})
"""What the daemon answers where the state, or another decision, stands against this one."""
