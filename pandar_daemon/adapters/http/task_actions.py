"""What can be done to a task, one at a time or up to 50 at once."""

from __future__ import annotations

import asyncio
import hashlib
from enum import StrEnum
from typing import Annotated

from aiohttp import web
from msgspec import Meta, Struct

from events.commands import (
    CancelTask,
    Command,
    ConfirmTask,
    DeleteTask,
    Id,
    Reason,
    RetryTask,
    StartTask,
)
from events.task import Json
from pandar_daemon.adapters.http.bodies import answer, command, read
from pandar_daemon.adapters.http.params import Query, id_in_path, idempotency_key, query
from pandar_daemon.adapters.http.writing import send, task_answer
from pandar_daemon.domain.refusals import Refusal

_AT_ONCE = 8


class Action(StrEnum):
    """The actions of ``POST /tasks/{id}/action``."""

    START = "start"
    CANCEL = "cancel"
    CONFIRM = "confirm"
    RETRY = "retry"


class TaskAction(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /tasks/{id}/action``."""

    action: Action
    reason: Reason | None = None


class BulkKind(StrEnum):
    """The actions of ``POST /tasks/bulk``."""

    CANCEL = "cancel"
    RETRY = "retry"
    DELETE = "delete"


class BulkAction(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /tasks/bulk``."""

    task_ids: Annotated[list[Id], Meta(min_length=1, max_length=50)]
    action: BulkKind
    reason: Reason | None = None


class Why(Query, frozen=True, kw_only=True):
    """The parameters of the actions that take a reason."""

    reason: Reason | None = None


class Nothing(Query, frozen=True, kw_only=True):
    """No parameters at all."""


_COMMANDS: dict[str, type[StartTask | CancelTask | ConfirmTask | RetryTask | DeleteTask]] = {
    "start": StartTask,
    "cancel": CancelTask,
    "confirm": ConfirmTask,
    "retry": RetryTask,
    "delete": DeleteTask,
}


async def act(request: web.Request) -> web.Response:
    """Do what the body names."""
    number = id_in_path(request, "task")
    wanted = await read(request, TaskAction)
    return await _do(request, number, wanted.action, wanted.reason)


async def _do(request: web.Request, number: int, action: str, reason: str | None) -> web.Response:
    order = _COMMANDS[action](reason=reason or "")
    return await _sent(request, number, action, order)


async def _sent(request: web.Request, number: int, action: str, order: Command) -> web.Response:
    sent = await send(request, f"task.{action}", order, target=number)
    return await task_answer(request, sent)


async def confirm(request: web.Request) -> web.Response:
    """Decide the pending confirmation; an empty body approves it."""
    number = id_in_path(request, "task")
    query(request, Nothing)
    return await _sent(request, number, "confirm", await command(request, ConfirmTask))


async def cancel(request: web.Request) -> web.Response:
    """End the task; the reason comes in the body or as ``?reason=``."""
    return await _with_reason(request, "cancel", CancelTask)


async def retry(request: web.Request) -> web.Response:
    """Queue a new attempt."""
    return await _with_reason(request, "retry", RetryTask)


async def execute(request: web.Request) -> web.Response:
    """Start the task."""
    return await _with_reason(request, "start", StartTask)


async def _with_reason(
    request: web.Request, action: str, shape: type[StartTask | CancelTask | RetryTask]
) -> web.Response:
    number = id_in_path(request, "task")
    asked = query(request, Why).reason
    order = await command(request, shape)
    return await _do(request, number, action, order.reason or asked)


async def bulk(request: web.Request) -> web.Response:
    """Do one thing to many tasks, each on its own: what fails is told, the rest is done."""
    wanted = await read(request, BulkAction)
    key = idempotency_key(request)
    turns = asyncio.Semaphore(_AT_ONCE)
    numbers = list(dict.fromkeys(wanted.task_ids))

    async def one(number: int) -> Json | None:
        async with turns:
            return await _one_of_many(request, number, wanted, key)

    failures = await asyncio.gather(*map(one, numbers))
    failed = [failure for failure in failures if failure]
    lost = {failure["task_id"] for failure in failed}
    return answer(
        {
            "successful": [number for number in numbers if number not in lost],
            "failed": failed,
            "total_processed": len(numbers),
        }
    )


async def _one_of_many(
    request: web.Request, number: int, wanted: BulkAction, key: str | None
) -> Json | None:
    order = _COMMANDS[wanted.action](reason=wanted.reason or "")
    command_id = None
    if key is not None:
        command_id = hashlib.sha256(f"{key}/{number}".encode()).hexdigest()[:40]
    try:
        await send(request, f"task.{wanted.action}", order, target=number, command_id=command_id)
    except Refusal as refusal:
        problem = refusal.problem
        error = problem.detail or problem.title
        return {"task_id": number, "error": error, "status": problem.status, "type": problem.type}
    return None
