"""Standing grants of a project."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final
from uuid import UUID, uuid5

from aiohttp import web
from msgspec import Struct

from events.grant import CreateGrant, Gates, Pattern, RevokeGrant, Uses, Why
from events.instant import Instant
from events.task import Json
from pandar_daemon.adapters.http import visibility
from pandar_daemon.adapters.http.bodies import answer, command, read
from pandar_daemon.adapters.http.deps import PRINCIPAL, Deps, deps
from pandar_daemon.adapters.http.params import id_in_path, idempotency_key
from pandar_daemon.adapters.http.positions import reached
from pandar_daemon.adapters.http.writing import Sent, created, send
from pandar_daemon.domain.access import Permission
from pandar_daemon.domain.refusals import NotFound

_GRANTS: Final = UUID("5f1f7d5e-5a0c-5c0e-8f43-2a1f4a7f6a12")


class Grant(Struct, frozen=True, kw_only=True):
    """A standing grant; ``status`` is ``active``, ``revoked``, ``expired`` or ``exhausted``."""

    grant_id: UUID
    project_id: int
    gates: list[str]
    pattern: str
    by: str
    reason: str
    created_at: Instant
    expires_at: Instant | None
    uses_max: int | None
    uses: int
    used_at: Instant | None
    revoked_by: str | None
    revoked_at: Instant | None
    confirmation_id: UUID | None
    status: str


class GrantList(Struct, frozen=True, kw_only=True):
    """The grants of a project."""

    items: list[Grant]


class NewGrant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /projects/{id}/grants``; without a pattern all calls at the gates."""

    gates: Gates
    pattern: Pattern = ""
    reason: Why = ""
    expires_at: Instant | None = None
    uses_max: Uses | None = None


async def page(request: web.Request) -> web.Response:
    """Answer what a project consented to, the newest first, what is over too."""
    number = id_in_path(request, "project")
    await visibility.check(request, Permission.PROJECT_READ, number, f"project {number}")
    return answer({"items": await deps(request).grants.page(number)})


async def create(request: web.Request) -> web.Response:
    """Consent to calls of a project's tasks beforehand."""
    number = id_in_path(request, "project")
    wanted = await read(request, NewGrant)
    command_id = idempotency_key(request) or str(deps(request).clock.new_id())
    order = CreateGrant(
        grant_id=uuid5(_GRANTS, f"{request[PRINCIPAL].user}/{command_id}"),
        project_id=number,
        gates=wanted.gates,
        pattern=wanted.pattern,
        reason=wanted.reason,
        expires_at=wanted.expires_at,
        uses_max=wanted.uses_max,
    )
    sent = await send(request, "grant.create", order, command_id=command_id)
    return created(await _answer(deps(request), sent), f"/api/v1/projects/{number}/grants")


async def revoke(request: web.Request) -> web.Response:
    """End a grant; tasks that run obey with their next call."""
    grant_id = _grant(request)
    sent = await send(request, "grant.revoke", await command(request, RevokeGrant), target=grant_id)
    return await _answer(deps(request), sent)


def _grant(request: web.Request) -> UUID:
    text = request.match_info["grant"]
    try:
        return UUID(text)
    except ValueError:
        raise NotFound(f"grant {text[:40]}") from None


async def _answer(needs: Deps, sent: Sent) -> web.Response:
    """Return a grant once the read model has what was done to it."""
    await reached(needs, sent.accepted.position)
    row: Json | None = await needs.grants.get(str(sent.accepted.id))
    if row is None:
        raise NotFound(f"grant {sent.accepted.id}")
    return answer(row, status=HTTPStatus.OK, headers=sent.headers)
