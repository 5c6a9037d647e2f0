"""The shapes of the answers, for the description of the API.

Handlers answer rows as the read models hold them; these Structs promise what stands in such rows,
and tests read real answers by them. A field that may be ``null`` says so; none is ever absent,
but where ``UNSET`` is its default.
"""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from events.instant import Instant
from events.project import MemberRole
from events.task import Cut, Json, Priority, Status
from pandar_daemon.adapters.http.history import Level

Percent = Annotated[int, Meta(ge=0, le=100)]


class Answer(Struct, frozen=True, kw_only=True):
    """Base of all answers; a later release may add fields."""


class Task(Answer, frozen=True, kw_only=True):
    """A task with its latest attempt; ``output`` is the end of what that attempt wrote."""

    id: int
    project_id: int
    name: str
    description: str
    command: str
    prompt: str | None
    priority: Priority
    status: Status
    status_reason: str | None
    progress: Percent
    output: str | None
    error: str | None
    exit_code: int | None
    duration: float | None
    metadata: Json
    created_by: str
    created_at: Instant
    updated_at: Instant
    started_at: Instant | None
    completed_at: Instant | None
    scheduled_at: Instant | None
    attempt: int
    execution_id: UUID | None
    runner_id: str | None
    agent: str | None
    confirmation_id: UUID | None
    version: int
    position: int


class TaskPage(Answer, frozen=True, kw_only=True):
    """Some tasks; ``next_cursor`` goes on after them, and is ``null`` at the end.

    ``total``, ``page`` and ``pages`` are absent when a ``cursor`` was given.
    """

    items: list[Task]
    limit: int
    next_cursor: str | None
    total: int | UnsetType = UNSET
    page: int | UnsetType = UNSET
    pages: int | UnsetType = UNSET


class TaskStats(Answer, frozen=True, kw_only=True):
    """Counts of tasks; ``success_rate`` in percent of those that ended; durations in seconds."""

    total_tasks: int
    pending_tasks: int
    running_tasks: int
    waiting_confirmation_tasks: int
    completed_tasks: int
    failed_tasks: int
    cancelled_tasks: int
    success_rate: float
    finished_executions: int
    total_duration: float
    average_duration: float | None


class BulkFailure(Answer, frozen=True, kw_only=True):
    """Why one of many was refused; ``status`` and ``type`` are those of a `Problem`."""

    task_id: int
    error: str
    status: int
    type: str


class BulkResult(Answer, frozen=True, kw_only=True):
    """What became of each of many tasks."""

    successful: list[int]
    failed: list[BulkFailure]
    total_processed: int


class Output(Answer, frozen=True, kw_only=True):
    """A piece of an attempt's output; ask again from byte ``next_offset`` for what follows.

    ``cut`` are bytes before it that are gone.
    """

    task_id: int
    attempt: int
    output: str
    offset: int
    next_offset: int
    cut: Cut | None
    is_complete: bool
    timestamp: Instant


class OutputEvent(Answer, frozen=True, kw_only=True):
    """The data of an ``output`` message of a task's stream."""

    attempt: int
    offset: int
    text: str


class LogLine(Answer, frozen=True, kw_only=True):
    """A line that the task wrote, or something that happened to it."""

    id: int
    task_id: int
    level: Level
    message: str
    timestamp: Instant
    metadata: Json


class LogPage(Answer, frozen=True, kw_only=True):
    """Some lines of a task's log."""

    logs: list[LogLine]
    total: int
    has_more: bool


class Consumed(Answer, frozen=True, kw_only=True):
    """What one attempt consumed; what its agent did not tell is absent."""

    cpu_sec: float
    max_rss_bytes: int
    input_tokens: int | UnsetType = UNSET
    output_tokens: int | UnsetType = UNSET
    cached_tokens: int | UnsetType = UNSET
    thought_tokens: int | UnsetType = UNSET
    cost_usd: float | UnsetType = UNSET


class Execution(Answer, frozen=True, kw_only=True):
    """One attempt; ``id`` is its ``execution_id`` and ``output`` its ``output_tail``."""

    id: UUID
    task_id: int
    execution_id: UUID
    attempt: int
    runner_id: str
    agent: str | None
    status: Literal["running", "completed", "failed", "cancelled", "lost", "parked", "paused"]
    started_at: Instant
    completed_at: Instant | None
    duration: float | None
    exit_code: int | None
    error: str | None
    output: str | None
    output_tail: str | None
    output_bytes: int | None
    cut: Cut | None
    usage: Consumed | None


class ExecutionPage(Answer, frozen=True, kw_only=True):
    """Some attempts, first to last."""

    items: list[Execution]
    total: int
    page: int
    limit: int


class Happening(Answer, frozen=True, kw_only=True):
    """Something that happened to a task: an event, and a sentence for people."""

    task_id: int
    position: int
    version: int
    type: str
    at: Instant
    actor: str
    summary: str
    data: Json


class Timeline(Answer, frozen=True, kw_only=True):
    """What happened, in order; ``next_after`` goes on, and is ``null`` at the end."""

    items: list[Happening]
    next_after: int | None


class Member(Answer, frozen=True, kw_only=True):
    """Somebody who belongs to a project."""

    user: str
    role: MemberRole
    since: Instant


class MemberList(Answer, frozen=True, kw_only=True):
    """Who belongs to a project, besides its owner."""

    items: list[Member]


class ProjectRow(Answer, frozen=True, kw_only=True):
    """A project in a list."""

    id: int
    name: str
    git_url: str
    description: str
    owner: str
    created_at: Instant
    updated_at: Instant
    version: int
    position: int
    base_branch: str
    setup: str


class Project(ProjectRow, frozen=True, kw_only=True):
    """A project with its members."""

    members: list[Member]


class ProjectPage(Answer, frozen=True, kw_only=True):
    """Some projects, by id."""

    items: list[ProjectRow]
    total: int
    page: int
    limit: int
    pages: int


class Alive(Answer, frozen=True, kw_only=True):
    """The process answers."""

    status: Literal["alive"]


class Ready(Answer, frozen=True, kw_only=True):
    """Whether requests can be served, and every reason why not; lags in events."""

    status: Literal["ready", "unready"]
    reasons: list[str]
    head: int | None
    nats_rtt_sec: float | None
    projection_lag: int | UnsetType | None = UNSET
    bus_lag: int | UnsetType | None = UNSET
