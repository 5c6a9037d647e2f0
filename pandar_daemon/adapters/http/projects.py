"""Projects, and who belongs to them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final

import msgspec
from aiohttp import web
from msgspec import Meta

from events.commands import AddMember, CreateProject, RemoveMember, UpdateProject
from events.ids import project_stream
from events.task import Json
from pandar_daemon.adapters.http import project_rows, visibility
from pandar_daemon.adapters.http.bodies import answer, command
from pandar_daemon.adapters.http.deps import Deps, deps
from pandar_daemon.adapters.http.params import Query, etag, id_in_path, query, unchanged
from pandar_daemon.adapters.http.positions import caught_up
from pandar_daemon.adapters.http.writing import Sent, created, send
from pandar_daemon.domain.access import Permission
from pandar_daemon.domain.options import validate
from pandar_daemon.domain.reading import decode
from pandar_daemon.domain.refusals import NotFound

_SEARCHED: Final = ("name", "description", "git_url")


class Listing(Query, frozen=True, kw_only=True):
    """The parameters of ``GET /projects``."""

    page: Annotated[int, Meta(ge=1, le=100_000)] = 1
    limit: Annotated[int, Meta(ge=1, le=100)] = 10
    search: Annotated[str, Meta(max_length=100)] = ""


async def page(request: web.Request) -> web.Response:
    """Answer the projects the caller belongs to, by id."""
    wanted = query(request, Listing)
    seen = await visibility.readable(request, Permission.PROJECT_READ)
    found = [row for row in await deps(request).projects.page(seen) if _has(row, wanted.search)]
    first = (wanted.page - 1) * wanted.limit
    return answer(
        {
            "items": found[first : first + wanted.limit],
            "total": len(found),
            "page": wanted.page,
            "limit": wanted.limit,
            "pages": -(-len(found) // wanted.limit),
        }
    )


def _has(row: Json, words: str) -> bool:
    return any(words.lower() in str(row.get(field) or "").lower() for field in _SEARCHED)


async def get(request: web.Request) -> web.Response:
    """Answer one project with its members."""
    row = await _project(request)
    tag = etag(row["version"])
    if unchanged(request, tag):
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag})
    return answer(row, headers={"ETag": tag})


async def members(request: web.Request) -> web.Response:
    """Answer who belongs to a project."""
    return answer({"items": (await _project(request))["members"]})


async def _project(request: web.Request) -> Json:
    number = id_in_path(request, "project")
    what = f"project {number}"
    row = await deps(request).projects.get(number)
    if row is None:  # perhaps so new that the read model has not got it yet
        await caught_up(deps(request))
        row = await deps(request).projects.get(number)
    if row is None:
        raise NotFound(what)
    await visibility.check(request, Permission.PROJECT_READ, number, what)
    return row


async def create(request: web.Request) -> web.Response:
    """Make a project; the caller owns it."""
    wanted = await command(request, CreateProject)
    sent = await send(request, "project.create", wanted)
    return created(await _answer(deps(request), sent), f"/api/v1/projects/{sent.accepted.id}")


async def update(request: web.Request) -> web.Response:
    """Give some fields of a project new values."""
    number = id_in_path(request, "project")
    wanted = await command(request, UpdateProject)
    sent = await send(request, "project.update", wanted, target=number)
    return await _answer(deps(request), sent)


async def add_member(request: web.Request) -> web.Response:
    """Let somebody in, or change their role; answers the project."""
    number = id_in_path(request, "project")
    wanted = await command(request, AddMember)
    sent = await send(request, "project.add_member", wanted, target=number)
    return created(await _answer(deps(request), sent), f"/api/v1/projects/{number}/members")


async def remove_member(request: web.Request) -> web.Response:
    """Take somebody out."""
    number = id_in_path(request, "project")
    wanted = decode(msgspec.json.encode({"user": request.match_info["user"]}), RemoveMember)
    validate(wanted, deps(request).agents, deps(request).clock.now())
    sent = await send(request, "project.remove_member", wanted, target=number)
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=sent.headers)


async def _answer(needs: Deps, sent: Sent) -> web.Response:
    """Return a project as the command left it, folded from the log."""
    number = int(sent.accepted.id)
    history = await needs.store.read_stream(project_stream(number), up_to=sent.accepted.position)
    row = project_rows.as_of(history)
    if row is None:
        raise NotFound(f"project {number}")
    return answer(row, headers=sent.headers)
