"""Tasks: list, search, count, file, look at, change, delete."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal

from aiohttp import web
from msgspec import Meta
from msgspec.structs import replace

from events.commands import CreateTask, DeleteTask, Id, Reason, UpdateTask
from events.ids import task_stream
from events.instant import Instant
from events.problem import FieldError
from events.task import Json, Priority, Status
from pandar_daemon.adapters.http import visibility
from pandar_daemon.adapters.http.bodies import answer, command
from pandar_daemon.adapters.http.deps import deps
from pandar_daemon.adapters.http.params import Query, etag, id_in_path, moment, query, unchanged
from pandar_daemon.adapters.http.writing import created, send, task_answer
from pandar_daemon.domain.access import Permission
from pandar_daemon.domain.refusals import Invalid, NotFound
from pandar_daemon.ports import TaskFilter
from projections import tasks as task_rows

PAGE_MAX = 100_000
Limit = Annotated[int, Meta(ge=1, le=100)]
Words = Annotated[str, Meta(min_length=1, max_length=100)]
Cursor = Annotated[str, Meta(min_length=1, max_length=1_000)]


class Listing(Query, frozen=True, kw_only=True):
    """The parameters of ``GET /tasks``."""

    page: Annotated[int, Meta(ge=1, le=PAGE_MAX)] | None = None
    limit: Limit = 10
    cursor: Cursor | None = None
    project_id: Id | None = None
    status: list[Status] = []
    priority: list[Priority] = []
    search: Annotated[str, Meta(max_length=100)] | None = None
    created_by: Annotated[str, Meta(max_length=128)] | None = None
    date_from: Instant | None = None
    date_to: Instant | None = None
    sort_by: Literal["created_at", "updated_at", "priority", "status", "name"] = "created_at"
    sort_order: Literal["asc", "desc"] = "desc"


class Searching(Query, frozen=True, kw_only=True):
    """The parameters of ``GET /tasks/search``."""

    q: Words
    page: Annotated[int, Meta(ge=1, le=PAGE_MAX)] | None = None
    limit: Limit = 20
    cursor: Cursor | None = None
    project_id: Id | None = None


class Few(Query, frozen=True, kw_only=True):
    """The parameters of ``GET /tasks/recent`` and ``/tasks/running``."""

    limit: Limit = 10
    project_id: Id | None = None


class OfProject(Query, frozen=True, kw_only=True):
    """The parameters of ``GET /tasks/stats``."""

    project_id: Id | None = None


class At(Query, frozen=True, kw_only=True):
    """The parameters of ``GET /tasks/{id}``."""

    at: str | None = None


class Deletion(Query, frozen=True, kw_only=True):
    """The parameters of ``DELETE /tasks/{id}``."""

    reason: Reason = ""


async def page(request: web.Request) -> web.Response:
    """Answer one page of the tasks the caller may see.

    By ``page`` it counts them all, as the origin of this API did; by ``cursor`` it goes on after
    the last task of the page before, as fast at any depth.
    """
    wanted = query(request, Listing)
    return await _page(request, await _filter(request, wanted))


async def _filter(request: web.Request, wanted: Listing) -> TaskFilter:
    if wanted.page is not None and wanted.cursor is not None:
        raise Invalid(FieldError(field="cursor", rule="either page or cursor, not both"))
    if wanted.date_from and wanted.date_to and wanted.date_from > wanted.date_to:
        raise Invalid(FieldError(field="date_to", rule="not before date_from"))
    return TaskFilter(
        projects=await visibility.projects_of(request, wanted.project_id),
        project_id=wanted.project_id,
        status=frozenset(wanted.status),
        priority=frozenset(wanted.priority),
        created_by=wanted.created_by or None,
        search=(wanted.search or "").strip() or None,
        date_from=wanted.date_from,
        date_to=wanted.date_to,
        sort_by=wanted.sort_by,
        descending=wanted.sort_order == "desc",
        limit=wanted.limit,
        cursor=wanted.cursor,
        page=None if wanted.cursor else wanted.page or 1,
    )


async def _page(request: web.Request, wanted: TaskFilter) -> web.Response:
    found = await deps(request).tasks.page(wanted)
    shown: Json = {"items": found.items, "limit": wanted.limit, "next_cursor": found.next}
    if wanted.page is not None:
        total = found.total or 0
        shown |= {"total": total, "page": wanted.page, "pages": -(-total // wanted.limit)}
    return answer(shown)


async def search(request: web.Request) -> web.Response:
    """Answer the tasks in whose name, description, command or output tail the words stand."""
    wanted = query(request, Searching)
    listing = Listing(
        page=wanted.page,
        limit=wanted.limit,
        cursor=wanted.cursor,
        project_id=wanted.project_id,
        search=wanted.q,
    )
    found = replace(await _filter(request, listing), sort_by="relevance")
    return await _page(request, found)


async def recent(request: web.Request) -> web.Response:
    """Answer the newest tasks, as a bare list."""
    wanted = query(request, Few)
    return await _few(request, Listing(limit=wanted.limit, project_id=wanted.project_id))


async def running(request: web.Request) -> web.Response:
    """Answer the tasks that run now, the last started first, as a bare list."""
    wanted = query(request, Few)
    listing = Listing(
        limit=wanted.limit,
        project_id=wanted.project_id,
        status=[Status.RUNNING],
    )
    return await _few(request, listing, sort_by="started_at")


async def _few(
    request: web.Request, listing: Listing, *, sort_by: str = "created_at"
) -> web.Response:
    wanted = replace(await _filter(request, listing), page=None, sort_by=sort_by)
    return answer((await deps(request).tasks.page(wanted)).items)


async def stats(request: web.Request) -> web.Response:
    """Answer counts per status, the success rate over terminal tasks, and durations."""
    wanted = query(request, OfProject)
    seen = await visibility.projects_of(request, wanted.project_id)
    return answer(await deps(request).tasks.stats(seen))


async def get(request: web.Request) -> web.Response:
    """Answer one task, ``?at=`` a log position or a time as it was then."""
    wanted = query(request, At)
    row = await (visibility.task(request) if wanted.at is None else _at(request, wanted.at))
    tag = etag(row["version"])
    if unchanged(request, tag):
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag})
    return answer(row, headers={"ETag": tag})


async def _at(request: web.Request, text: str) -> Json:
    number = id_in_path(request, "task")
    then: int | datetime = moment(text, "at")
    history = await deps(request).store.read_stream(task_stream(number), up_to=then)
    row = task_rows.as_of(history, history[-1].recorded_at) if history else None
    if row is None:
        raise NotFound(f"task {number} at that moment")
    await visibility.check(
        request, Permission.TASK_READ, int(row["project_id"]), f"task {number} at that moment"
    )
    return row


async def create(request: web.Request) -> web.Response:
    """File a task."""
    wanted = await command(request, CreateTask)
    sent = await send(request, "task.create", wanted, project=wanted.project_id)
    return created(await task_answer(request, sent), f"/api/v1/tasks/{sent.accepted.id}")


async def update(request: web.Request) -> web.Response:
    """Give some fields of a task new values."""
    number = id_in_path(request, "task")
    wanted = await command(request, UpdateTask)
    sent = await send(request, "task.update", wanted, target=number)
    return await task_answer(request, sent)


async def delete(request: web.Request) -> web.Response:
    """Show a task no more."""
    number = id_in_path(request, "task")
    wanted = DeleteTask(reason=query(request, Deletion).reason)
    sent = await send(request, "task.delete", wanted, target=number)
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=sent.headers)
