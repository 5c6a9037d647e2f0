"""What a task changed: as a patch, as lines for people, or as JSON."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final, Literal

from aiohttp import web
from msgspec import Meta, Struct

from events import codec
from events.ids import task_stream
from events.instant import Instant
from events.task import TaskCheckpointed
from pandar_daemon.adapters.http import visibility
from pandar_daemon.adapters.http.bodies import answer
from pandar_daemon.adapters.http.deps import deps
from pandar_daemon.adapters.http.params import Query, query, unchanged
from pandar_daemon.domain.changes import FileChange, stat_text
from pandar_daemon.domain.refusals import NotFound
from pandar_daemon.ports import Diff, DiffKey

PATCH: Final = "text/x-diff"
_NAMED_MAX: Final = 10

Checkpoint = Annotated[str, Meta(pattern=r"^[0-9]{1,6}-[0-9]{1,6}\Z")]


class Wanted(Query, frozen=True, kw_only=True):
    """The parameters of ``GET /tasks/{id}/diff``."""

    format: Literal["patch", "stat", "json"] = "patch"
    checkpoint: Checkpoint | None = None


class TaskDiff(Struct, frozen=True, kw_only=True):
    """What a task had changed at a checkpoint, against ``base``, where its branch began.

    ``files`` are at most 2,000 of the ``count`` there are. ``skipped`` are not in it. The patch is
    ``patch_bytes`` long, and all of it unless ``cut``.
    """

    task_id: int
    checkpoint: str
    at: Instant
    commit: str
    base: str
    branch: str
    commits: int
    files: list[FileChange]
    count: int
    insertions: int
    deletions: int
    skipped: list[str]
    patch_bytes: int
    cut: bool


class Found(Struct, frozen=True, kw_only=True):
    """A checkpoint of a task, by the name it has within it."""

    name: str
    at: Instant
    event: TaskCheckpointed


async def get(request: web.Request) -> web.Response:
    """Answer what a task changed up to a checkpoint, the latest one if none is named.

    As a patch that `git apply` takes; with ``format`` as a line for each file (``stat``, every
    character harmless) or as ``json``. Of a patch at most 8 MiB are kept, for thirty days.
    """
    wanted = query(request, Wanted)
    row = await visibility.task(request)
    task_id = int(row["id"])
    found = _chosen(await _found(request, task_id), task_id, wanted.checkpoint)
    tag = f'"{found.name}-{wanted.format}"'
    headers = {"ETag": tag, "Pandar-Checkpoint": found.name}
    if unchanged(request, tag):
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    key = DiffKey(project_id=int(row["project_id"]), task_id=task_id, checkpoint=found.name)
    store = deps(request).diffs
    diff = None if store is None else await store.read(key)
    if diff is None:
        raise NotFound(
            f"patch of checkpoint {found.name} of task {task_id} any more:"
            f" its clone may still have {found.event.ref}"
        )
    if wanted.format == "json":
        return answer(_shown(task_id, found, diff), headers=headers)
    return _text(diff, wanted.format, headers)


def _text(diff: Diff, form: str, headers: dict[str, str]) -> web.Response:
    whole = {**headers, "X-Content-Type-Options": "nosniff"}
    if form == "patch":
        return web.Response(body=diff.patch, content_type=PATCH, headers=whole)
    return web.Response(text=stat_text(diff.changes), content_type="text/plain", headers=whole)


async def _found(request: web.Request, task_id: int) -> list[Found]:
    history = await deps(request).store.read_stream(task_stream(task_id))
    events = ((recorded, codec.decode(recorded)) for recorded in history)
    return [
        Found(name=event.ref.rpartition("/")[2], at=recorded.recorded_at, event=event)
        for recorded, event in events
        if isinstance(event, TaskCheckpointed)
    ]


def _chosen(found: list[Found], task_id: int, name: str | None) -> Found:
    if not found:
        raise NotFound(
            f"diff of task {task_id}: nothing of its files was kept yet, or it has no repository"
        )
    if name is None:
        return found[-1]
    for each in found:
        if each.name == name:
            return each
    known = ", ".join(each.name for each in found[-_NAMED_MAX:])
    raise NotFound(f"checkpoint {name} of task {task_id}; there are {known}")


def _shown(task_id: int, found: Found, diff: Diff) -> TaskDiff:
    changes = diff.changes
    return TaskDiff(
        task_id=task_id,
        checkpoint=found.name,
        at=found.at,
        commit=changes.commit,
        base=changes.base,
        branch=changes.branch,
        commits=changes.commits,
        files=list(changes.files),
        count=changes.count,
        insertions=changes.insertions,
        deletions=changes.deletions,
        skipped=list(changes.skipped),
        patch_bytes=changes.patch_bytes,
        cut=changes.cut,
    )
