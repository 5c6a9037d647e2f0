"""What is read of usage and cost."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from events.task import Json


class UsageBy(StrEnum):
    """What usage is summed by."""

    DAY = "day"
    AGENT = "agent"
    PROJECT = "project"
    TASK = "task"


class UsageFilter(Struct, frozen=True, kw_only=True):
    """Which executions: by project, agent (``""`` for plain commands) and the day they ended on.

    ``None`` is no limit; the days ``first`` and ``last``, in UTC, are both included.
    """

    projects: frozenset[int] | None = None
    agent: str | None = None
    first: date | None = None
    last: date | None = None
    by: UsageBy = UsageBy.DAY
    limit: int = 1_000


class UsageReads(Protocol):
    """Sums as JSON objects with the fields of the API's ``Consumed``."""

    async def sums(self, wanted: UsageFilter) -> Json:
        """Return at most ``limit`` sums as ``items``, and of all executions the ``total``.

        The newest days, else what cost the most, come first. ``has_more`` when some were left out.
        """
        ...

    async def of_task(self, task_id: int) -> Json:
        """Return the sum over all executions of a task that have ended."""
        ...
