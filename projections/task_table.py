"""The tables of tasks: what the API shows and picking needs, and beside it what searches read."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from events.task import Priority
from projections.base import Table

RANK: Final = {Priority.LOW: 0, Priority.MEDIUM: 1, Priority.HIGH: 2, Priority.URGENT: 3}
"""Priorities as numbers, the most urgent greatest."""

FIELDS: Final = (
    ("id", "bigint"),
    ("project_id", "bigint"),
    ("name", "text"),
    ("description", "text"),
    ("command", "text"),
    ("prompt", "text"),
    ("priority", "text"),
    ("status", "text"),
    ("status_reason", "text"),
    ("progress", "integer"),
    ("output", "text"),
    ("error", "text"),
    ("exit_code", "bigint"),
    ("duration", "double precision"),
    ("metadata", "json"),
    ("created_by", "text"),
    ("created_at", "timestamptz"),
    ("updated_at", "timestamptz"),
    ("started_at", "timestamptz"),
    ("completed_at", "timestamptz"),
    ("scheduled_at", "timestamptz"),
    ("attempt", "integer"),
    ("execution_id", "uuid"),
    ("runner_id", "text"),
    ("agent", "text"),
    ("confirmation_id", "uuid"),
    ("version", "bigint"),
    ("position", "bigint"),
)
"""The fields of the API's task, in its order."""

_INTERNAL: Final = (
    ("priority_rank", "integer"),
    ("concurrency_key", "text"),
    ("queued_at", "timestamptz"),
    ("not_before", "timestamptz"),
    ("confirmation_expires_at", "timestamptz"),
    ("deleted", "boolean"),
)

SEARCHED: Final = (
    "(coalesce(in_name, '') || ' ' || coalesce(in_description, '') || ' '"
    " || coalesce(in_command, '') || ' ' || coalesce(in_output, ''))"
)
"""The SQL expression searches go through; its indexes serve only this very text."""

SPANS: Final = (4, 64, 1_024, 16_384)
"""Minutes: a task is found by the four it was made in, by the hour or so, the day, the week.

A search of any stretch of time is then a search of a dozen of these.
"""

SPAN_BASE: Final = 100_000_000
"""What is added to the number of a span for each length that is shorter; minutes end in 2160."""

MADE_IN: Final = (
    "(ARRAY["
    + ", ".join(f"{n * SPAN_BASE} + minute / {length}" for n, length in enumerate(SPANS))
    + "])"
)
"""The SQL expression for the spans a task was made in; its indexes serve only this very text."""

_PENDING: Final = "WITH (gin_pending_list_limit = 512)"
"""Each search reads all of what waits to be indexed: so let it be an eighth of what is usual."""

TABLE: Final = Table(
    name="tasks",
    columns=FIELDS + _INTERNAL,
    key=("id",),
    indexes=(
        "(created_at, id) WHERE NOT deleted",
        "(project_id, created_at, id) WHERE NOT deleted",
        "(updated_at, id) WHERE NOT deleted",
        "(priority_rank, id) WHERE NOT deleted",
        "(status, created_at, id) WHERE NOT deleted",
        "(name, id) WHERE NOT deleted",
        (
            "(priority_rank DESC, queued_at, id)"
            " WHERE status_reason IN ('queued', 'retry_at', 'quota', 'resuming') AND NOT deleted"
        ),
        "(scheduled_at) WHERE status = 'pending' AND status_reason IS NULL AND NOT deleted",
        "(confirmation_expires_at) WHERE status = 'waiting_confirmation' AND NOT deleted",
    ),
)

WORDS: Final = Table(
    name="task_words",
    columns=(
        ("id", "bigint"),
        ("minute", "integer"),
        ("in_name", "text"),
        ("in_description", "text"),
        ("in_command", "text"),
        ("in_output", "text"),
    ),
    key=("id",),
    indexes=(
        f"USING gin ({MADE_IN}, to_tsvector('simple', {SEARCHED})) {_PENDING}",
        f"USING gin ({MADE_IN}, {SEARCHED} gin_trgm_ops) {_PENDING}",
        f"USING gin (in_name gin_trgm_ops) {_PENDING}",
    ),
)
"""A task's texts, apart: a change of status would else index them anew, at 3 kB of WAL a task.

``minute`` is the one it was made in, counted from 1970.
"""


def minute(at: datetime) -> int:
    """Return the minute of an instant, counted from 1970."""
    return int(at.timestamp() // 60)
