"""What executions consumed, and what that cost."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, UnsetType

from events.commands import Id
from events.problem import FieldError
from events.task import Json, Usage
from pandar_daemon.adapters.http import visibility
from pandar_daemon.adapters.http.answers import Answer
from pandar_daemon.adapters.http.bodies import answer
from pandar_daemon.adapters.http.deps import deps
from pandar_daemon.adapters.http.params import Query, query
from pandar_daemon.domain.refusals import Invalid
from pandar_daemon.ports import UsageBy, UsageFilter

LIMIT_MAX: Final = 1_000


class Wanted(Query, frozen=True, kw_only=True):
    """The parameters of ``GET /usage``; days in UTC, both included."""

    project_id: Id | None = None
    agent: Annotated[str, Meta(max_length=64)] | None = None
    first: date | None = msgspec.field(default=None, name="from")
    last: date | None = msgspec.field(default=None, name="to")
    by: UsageBy = UsageBy.DAY
    limit: Annotated[int, Meta(ge=1, le=LIMIT_MAX)] = LIMIT_MAX


class Consumed(Answer, frozen=True, kw_only=True):
    """What executions that have ended consumed; one that was lost counts, with nothing.

    Input leaves out tokens read from a cache. ``cost_usd`` is at list price, without that of
    ``unpriced_executions``: these used tokens, and nobody told at what cost.
    """

    executions: int
    unpriced_executions: int
    cpu_sec: float
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    thought_tokens: int
    cost_usd: float


class ConsumedBy(Consumed, frozen=True, kw_only=True):
    """What was consumed on a day, or by an agent, a project or a task: one of these is present.

    Agent ``""`` stands for plain commands.
    """

    day: date | UnsetType = UNSET
    agent: str | UnsetType = UNSET
    project_id: int | UnsetType = UNSET
    task_id: int | UnsetType = UNSET


class UsageSums(Answer, frozen=True, kw_only=True):
    """Sums, the newest days or else what cost the most first; the total is of all there are.

    ``has_more`` when there are more than were asked for.
    """

    items: list[ConsumedBy]
    total: Consumed
    has_more: bool


class ExecutionUsage(Answer, frozen=True, kw_only=True):
    """What one execution consumed: ``null`` is what is not known, or not yet."""

    execution_id: UUID
    attempt: int
    agent: str | None
    status: Literal["running", "completed", "failed", "cancelled", "lost", "parked", "paused"]
    cpu_sec: float | None
    max_rss_bytes: int | None
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    thought_tokens: int | None
    cost_usd: float | None


class TaskUsage(Answer, frozen=True, kw_only=True):
    """What a task consumed: its executions, first to last, and all that have ended together."""

    task_id: int
    items: list[ExecutionUsage]
    total: Consumed


async def sums(request: web.Request) -> web.Response:
    """Answer what was consumed in the projects the caller may see, by day or something else."""
    wanted = query(request, Wanted)
    if wanted.first and wanted.last and wanted.first > wanted.last:
        raise Invalid(FieldError(field="to", rule="not before from"))
    seen = await visibility.projects_of(request, wanted.project_id)
    asked = UsageFilter(
        projects=seen,
        agent=wanted.agent,
        first=wanted.first,
        last=wanted.last,
        by=wanted.by,
        limit=wanted.limit,
    )
    return answer(await deps(request).usage.sums(asked))


async def of_task(request: web.Request) -> web.Response:
    """Answer what each execution of a task consumed, and all of them together."""
    needs, row = deps(request), await visibility.task(request)
    number = int(row["id"])
    total = await needs.usage.of_task(number)
    executions = await needs.tasks.executions(number)
    items = [_execution(each) for each in executions]
    return answer({"task_id": number, "items": items, "total": total})


def _execution(row: Json) -> Json:
    named = {name: row[name] for name in ("execution_id", "attempt", "agent", "status")}
    told = row["usage"] or {}
    return named | {name: told.get(name) for name in Usage.__struct_fields__}
