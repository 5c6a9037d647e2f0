"""A task's past: its attempts, its timeline, and its log for people."""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Annotated, Final

from aiohttp import web
from msgspec import Meta

from events.ids import ID_MAX
from events.problem import FieldError
from events.task import Json
from pandar_daemon.adapters.http import visibility
from pandar_daemon.adapters.http.bodies import answer
from pandar_daemon.adapters.http.deps import Deps, deps
from pandar_daemon.adapters.http.params import Query, query
from pandar_daemon.adapters.http.stored_output import last_lines
from pandar_daemon.domain.refusals import Invalid
from pandar_daemon.ports import OutputKey

LINES_MAX: Final = 10_000
"""The last lines of each attempt that its log shows; all of it is in its output."""

_ENTRIES: Final = 1_000


class Level(StrEnum):
    """How much a line of the log matters."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"


_LEVELS: Final = {
    "task.progressed": Level.DEBUG,
    "task.confirmation_requested": Level.WARNING,
    "task.confirmation_expired": Level.WARNING,
    "task.denied": Level.WARNING,
    "task.cancel_requested": Level.WARNING,
    "task.cancelled": Level.WARNING,
    "task.execution_lost": Level.ERROR,
    "task.failed": Level.ERROR,
}


class Pages(Query, frozen=True, kw_only=True):
    """The parameters of ``GET /tasks/{id}/executions``."""

    page: Annotated[int, Meta(ge=1, le=100_000)] = 1
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class After(Query, frozen=True, kw_only=True):
    """The parameters of ``GET /tasks/{id}/timeline``."""

    after: Annotated[int, Meta(ge=0, le=ID_MAX)] | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 100
    last: Annotated[int, Meta(ge=1, le=500)] | None = None


class Logs(Query, frozen=True, kw_only=True):
    """The parameters of ``GET /tasks/{id}/logs``."""

    page: Annotated[int, Meta(ge=1, le=100_000)] = 1
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    level: Level | None = None


async def executions(request: web.Request) -> web.Response:
    """Answer the attempts of a task, first to last."""
    wanted = query(request, Pages)
    row = await visibility.task(request)
    found = await deps(request).tasks.executions(int(row["id"]))
    first = (wanted.page - 1) * wanted.limit
    items = [_execution(row) for row in found[first : first + wanted.limit]]
    return answer({"items": items, "total": len(found), "page": wanted.page, "limit": wanted.limit})


def _execution(row: Json) -> Json:
    """Return an attempt with the names the origin of this API gave its id and output, too."""
    return {"id": row["execution_id"], **row, "output": row["output_tail"]}


async def timeline(request: web.Request) -> web.Response:
    """Answer what happened after a log position; ``next_after`` goes on, ``null`` at the end.

    With ``last`` the newest so many, in order.
    """
    wanted = query(request, After)
    if wanted.last is not None and wanted.after is not None:
        raise Invalid(FieldError(field="last", rule="either last or after, not both"))
    row = await visibility.task(request)
    limit = wanted.last or wanted.limit
    newest = wanted.last is not None
    found = await deps(request).tasks.timeline(
        int(row["id"]), after=wanted.after or 0, limit=limit, newest=newest
    )
    following = found[-1]["position"] if len(found) == limit and not newest else None
    return answer({"items": found, "next_after": following})


async def logs(request: web.Request) -> web.Response:
    """Answer the lines a task wrote, and between them what happened to it, each with a level."""
    wanted = query(request, Logs)
    row = await visibility.task(request)
    first = (wanted.page - 1) * wanted.limit
    shown: list[Json] = []
    total = 0
    async for line in _lines(deps(request), row):
        if wanted.level is not None and line["level"] != wanted.level:
            continue
        if first <= total < first + wanted.limit:
            shown.append({"id": total + 1, **line})
        total += 1
    return answer({"logs": shown, "total": total, "has_more": first + len(shown) < total})


async def _lines(needs: Deps, row: Json) -> AsyncIterator[Json]:
    task_id, after = int(row["id"]), 0
    while entries := await needs.tasks.timeline(task_id, after=after, limit=_ENTRIES):
        for entry in entries:
            yield _entry(task_id, entry)
            if entry["type"] == "task.started":
                key = OutputKey(
                    project_id=int(row["project_id"]),
                    task_id=task_id,
                    attempt=int(entry["data"]["attempt"]),
                )
                async for line in _written(needs, key, entry["at"]):
                    yield line
        after = int(entries[-1]["position"])


def _entry(task_id: int, entry: Json) -> Json:
    return {
        "task_id": task_id,
        "level": _LEVELS.get(entry["type"], Level.INFO),
        "message": entry["summary"],
        "timestamp": entry["at"],
        "metadata": {"type": entry["type"], "position": entry["position"], "actor": entry["actor"]},
    }


async def _written(needs: Deps, key: OutputKey, at: str) -> AsyncIterator[Json]:
    found = await last_lines(needs.outputs, key, LINES_MAX)
    for line in found.data.decode("utf-8", "replace").splitlines():
        yield {
            "task_id": key.task_id,
            "level": Level.INFO,
            "message": line,
            "timestamp": at,
            "metadata": {"attempt": key.attempt, "stream": "output"},
        }
