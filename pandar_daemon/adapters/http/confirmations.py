"""Confirmations: what waits for people, what they decided, and a link to decide by."""

from __future__ import annotations

from typing import Annotated, Final, Literal
from uuid import UUID

from aiohttp import web
from msgspec import Meta, Struct

from events.commands import Id, IssueLink
from events.task import Json
from pandar_daemon.adapters.http import visibility
from pandar_daemon.adapters.http.approvers import may_decide
from pandar_daemon.adapters.http.bodies import answer, read
from pandar_daemon.adapters.http.deps import PRINCIPAL, Deps, deps
from pandar_daemon.adapters.http.params import Query, id_in_path, query
from pandar_daemon.adapters.http.positions import caught_up
from pandar_daemon.adapters.http.writing import send
from pandar_daemon.domain import links
from pandar_daemon.domain.access import Permission
from pandar_daemon.domain.refusals import Forbidden, NotFound, Rejected

_PRIVATE: Final = {"Cache-Control": "no-store"}


class Listing(Query, frozen=True, kw_only=True):
    """The parameters of ``GET /confirmations``."""

    status: list[Literal["pending"]] = []
    project_id: Id | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: Annotated[str, Meta(min_length=1, max_length=1_000)] | None = None


class Pages(Query, frozen=True, kw_only=True):
    """The parameters of ``GET /tasks/{id}/confirmations``."""

    page: Annotated[int, Meta(ge=1, le=100_000)] = 1
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class LinkWanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /tasks/{id}/link``."""

    confirmation_id: UUID | None = None


async def page(request: web.Request) -> web.Response:
    """Answer what waits for people, the nearest deadline first."""
    wanted = query(request, Listing)
    seen = await visibility.projects_of(request, wanted.project_id)
    found = await deps(request).confirmations.pending(
        seen, cursor=wanted.cursor, limit=wanted.limit
    )
    return answer({"items": found.items, "limit": wanted.limit, "next_cursor": found.next})


async def of_task(request: web.Request) -> web.Response:
    """Answer what a task asked people, first to last, and who decided what and when."""
    wanted = query(request, Pages)
    row = await visibility.task(request)
    found = await deps(request).confirmations.of_task(int(row["id"]))
    first = (wanted.page - 1) * wanted.limit
    items = found[first : first + wanted.limit]
    return answer({"items": items, "total": len(found), "page": wanted.page, "limit": wanted.limit})


async def get(request: web.Request) -> web.Response:
    """Answer one confirmation."""
    text = request.match_info["confirmation_id"]
    what = f"confirmation {text[:40]}"
    row = await _row(deps(request), _uuid(text, what), what)
    await visibility.check(request, Permission.TASK_READ, int(row["project_id"]), what)
    return answer(row)


def _uuid(text: str, what: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound(what) from None


async def _row(needs: Deps, confirmation_id: UUID, what: str) -> Json:
    row = await needs.confirmations.get(confirmation_id)
    if row is None:  # perhaps so new that the read model has not got it yet
        await caught_up(needs)
        row = await needs.confirmations.get(confirmation_id)
    if row is None:
        raise NotFound(what)
    return row


async def link(request: web.Request) -> web.Response:
    """Make a link by which the caller decides the pending confirmation, without a token.

    Whoever has the address decides as the caller: it is told once, and dies with the decision.
    """
    number = id_in_path(request, "task")
    wanted = await read(request, LinkWanted)
    needs, user = deps(request), request[PRINCIPAL].user
    row = await visibility.task(request)
    confirmation_id = wanted.confirmation_id or await _pending(request, row)
    what = f"confirmation {confirmation_id}"
    found = await _row(needs, confirmation_id, what)
    if found["task_id"] != number:
        raise NotFound(what)
    if not await may_decide(needs, user, int(row["project_id"])):
        raise Forbidden(f"{Permission.TASK_MANAGE} as a member of project {row['project_id']}")
    token = links.secret(needs.clock.new_id() for _ in range(links.IDS))
    order = IssueLink(
        confirmation_id=confirmation_id, approver=user, token_sha256=links.sha256(token)
    )
    fresh = str(needs.clock.new_id())  # the same link twice would need its text to be kept
    await send(request, "task.link", order, target=number, command_id=fresh)
    url = links.address(needs.public_url or str(request.url.origin()), token)
    return answer({"url": url, "expires_at": found["expires_at"]}, headers=_PRIVATE)


async def _pending(request: web.Request, row: Json) -> UUID:
    if row["confirmation_id"] is None:
        await caught_up(deps(request))
        row = await visibility.task(request)
    if row["confirmation_id"] is None:
        state = str(row["status"])
        raise Rejected(f"task {row['id']} waits for nobody: it is {state}", state=state)
    return UUID(row["confirmation_id"])
