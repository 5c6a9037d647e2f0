"""What is read from the read models."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from events.task import Json


class Page(Struct, frozen=True, kw_only=True):
    """Rows as JSON objects; ``next`` continues after the last one, ``None`` at the end."""

    items: list[Json]
    next: str | None = None
    total: int | None = None


class TaskFilter(Struct, frozen=True, kw_only=True):
    """Which tasks, in which order; ``projects`` is ``None`` for someone who may see all.

    ``sort_by``: ``created_at``, ``updated_at``, ``started_at``, ``priority``, ``status``, ``name``,
    or ``relevance`` (how well ``search`` is met).
    """

    projects: frozenset[int] | None = None
    project_id: int | None = None
    status: frozenset[str] = frozenset()
    priority: frozenset[str] = frozenset()
    created_by: str | None = None
    search: str | None = None
    date_from: datetime | None = None
    date_to: datetime | None = None
    sort_by: str = "created_at"
    descending: bool = True
    limit: int = 10
    cursor: str | None = None
    page: int | None = None


class TaskReads(Protocol):
    """The API's view of tasks; rows have exactly the fields of the API's task."""

    async def page(self, wanted: TaskFilter) -> Page:
        """Return one page; ``total`` is counted only when ``page`` is given.

        Raises `Invalid` for a cursor that is not one of ours or belongs to another order.
        """
        ...

    async def get(self, task_id: int) -> Json | None:
        """Return one task that is not deleted."""
        ...

    async def stats(self, projects: frozenset[int] | None) -> Json:
        """Return counts per status, success rate over terminal tasks in percent, durations."""
        ...

    async def executions(self, task_id: int) -> list[Json]:
        """Return the attempts of a task, first to last."""
        ...

    async def timeline(
        self, task_id: int, *, after: int, limit: int, newest: bool = False
    ) -> list[Json]:
        """Return what happened to a task after a position, in order.

        At most ``limit`` entries: the first ones, or the ``newest``.
        """
        ...


class ProjectReads(Protocol):
    """Projects and who may see them."""

    async def page(self, projects: frozenset[int] | None) -> list[Json]:
        """Return the projects, by id."""
        ...

    async def get(self, project_id: int) -> Json | None:
        """Return one project with its members."""
        ...

    async def roles(self, user: str) -> dict[int, str]:
        """Return the user's role (``owner``, ``manager``…) in each project they belong to."""
        ...

    async def position(self) -> int:
        """Return the position up to which all live read models are complete."""
        ...


class WorkQueue(Protocol):
    """Who runs next."""

    async def candidates(self, *, limit: int) -> list[int]:
        """Return queued task ids, best first: priority, then age; none whose key is held."""
        ...

    async def due(self, *, limit: int) -> list[tuple[int, datetime]]:
        """Return tasks whose ``scheduled_at`` has come and that nobody started."""
        ...

    async def expired_confirmations(self, *, limit: int) -> list[tuple[int, UUID]]:
        """Return the tasks whose pending confirmation is past its deadline."""
        ...
