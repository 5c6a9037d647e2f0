"""What can happen to a task, and the values these events are made of.

The tag of an event is its public name and never changes. Fields are only added, at the end, with
a default; anything else is a new ``SCHEMA_VERSION`` and a step in `events.upcast`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from events.instant import Instant

Json = dict[str, Any]
"""A JSON object whose content is the user's own: kept as it came, never interpreted."""


class Status(StrEnum):
    """The six public states of a task."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING_CONFIRMATION = "waiting_confirmation"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})
"""States in which no execution is live and none will start by itself."""


class Priority(StrEnum):
    """How soon a task is picked among those that wait."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    URGENT = "urgent"


class FailureKind(StrEnum):
    """Why an execution failed, for programs."""

    EXIT_CODE = "exit_code"  # the command ended with a code other than 0
    TIMEOUT = "timeout"  # it ran longer than ``timeout_sec``
    START = "start"  # it could not be started at all
    LOST_RUNNER = "lost_runner"  # its runner vanished and nobody wants another attempt
    DENIED = "denied"  # a confirmation was denied or expired and the task cannot go on


class Event(Struct, frozen=True, kw_only=True):
    """Base of all events: data only, no behaviour."""

    SCHEMA_VERSION: ClassVar[int] = 1


class Usage(Struct, frozen=True, kw_only=True):
    """What an execution consumed."""

    cpu_sec: float = 0.0
    max_rss_bytes: int = 0


class Cut(Struct, frozen=True, kw_only=True):
    """The bytes ``[start, end)`` of an output that were dropped to stay within its limit."""

    start: int
    end: int


class TaskCreated(Event, frozen=True, kw_only=True, tag="task.created"):
    """A task was filed."""

    task_id: int
    project_id: int
    name: str
    command: str
    created_by: str
    description: str = ""
    priority: Priority = Priority.MEDIUM
    metadata: Json = {}
    scheduled_at: Instant | None = None


class TaskUpdated(Event, frozen=True, kw_only=True, tag="task.updated"):
    """Some fields of a task got new values; the others are absent."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    metadata: Json | UnsetType = UNSET
    scheduled_at: Instant | UnsetType | None = UNSET


class TaskDeleted(Event, frozen=True, kw_only=True, tag="task.deleted"):
    """A task is no longer shown; its history stays in the log."""

    from_status: Status
    reason: str = ""


class StartRequested(Event, frozen=True, kw_only=True, tag="task.start_requested"):
    """A task waits for a runner."""

    reason: str = ""


class TaskStarted(Event, frozen=True, kw_only=True, tag="task.started"):
    """A runner holds the lease of a new execution."""

    execution_id: UUID
    attempt: int
    epoch: int
    runner_id: str
    agent: str | None = None


class TaskProgressed(Event, frozen=True, kw_only=True, tag="task.progressed"):
    """The execution said how far it is."""

    execution_id: UUID
    progress: int
    message: str = ""


class ConfirmationRequested(Event, frozen=True, kw_only=True, tag="task.confirmation_requested"):
    """The task stops until somebody decides, or until ``expires_at``."""

    confirmation_id: UUID
    execution_id: UUID
    gate: str
    card: Json
    card_sha256: str
    expires_at: Instant


class TaskConfirmed(Event, frozen=True, kw_only=True, tag="task.confirmed"):
    """Somebody approved what the card showed."""

    confirmation_id: UUID
    reason: str = ""


class TaskDenied(Event, frozen=True, kw_only=True, tag="task.denied"):
    """Somebody refused what the card showed."""

    confirmation_id: UUID
    reason: str = ""


class ChangesRequested(Event, frozen=True, kw_only=True, tag="task.changes_requested"):
    """Somebody wants it done differently; the text goes to the agent."""

    confirmation_id: UUID
    reason: str


class ConfirmationExpired(Event, frozen=True, kw_only=True, tag="task.confirmation_expired"):
    """Nobody decided in time; it counts as denied."""

    confirmation_id: UUID


class QuestionAnswered(Event, frozen=True, kw_only=True, tag="task.question_answered"):
    """A question of the agent was answered by ``proxy:<agent>`` or ``user``."""

    execution_id: UUID
    question: str
    answer: str
    by: str


class TaskParked(Event, frozen=True, kw_only=True, tag="task.parked"):
    """The agent's process was ended to free its slot while the confirmation waits."""

    execution_id: UUID
    session_id: str = ""


class TaskResumed(Event, frozen=True, kw_only=True, tag="task.resumed"):
    """A parked execution goes on in a new process."""

    execution_id: UUID
    epoch: int
    runner_id: str


class AgentSwitched(Event, frozen=True, kw_only=True, tag="task.agent_switched"):
    """Another agent took the execution over."""

    execution_id: UUID
    from_agent: str
    to_agent: str
    reason: str = ""


class TaskCompleted(Event, frozen=True, kw_only=True, tag="task.completed"):
    """The execution succeeded."""

    execution_id: UUID
    exit_code: int
    output_tail: str
    duration_sec: float
    output_bytes: int = 0
    cut: Cut | None = None
    usage: Usage = Usage()
    from_status: Status = Status.RUNNING


class TaskFailed(Event, frozen=True, kw_only=True, tag="task.failed"):
    """The execution failed; with ``will_retry`` the next event is ``task.retried``.

    Without ``execution_id`` the task failed after its execution was over: lost, and then denied.
    """

    execution_id: UUID | None
    error: str
    kind: FailureKind
    from_status: Status
    exit_code: int | None = None
    output_tail: str = ""
    duration_sec: float = 0.0
    output_bytes: int = 0
    cut: Cut | None = None
    usage: Usage = Usage()
    will_retry: bool = False


class CancelRequested(Event, frozen=True, kw_only=True, tag="task.cancel_requested"):
    """Somebody wants the task to end; its process tree is being killed."""

    reason: str = ""
    from_status: Status = Status.RUNNING


class TaskCancelled(Event, frozen=True, kw_only=True, tag="task.cancelled"):
    """The task was ended on request; no process of it is left."""

    from_status: Status
    reason: str = ""
    execution_id: UUID | None = None
    exit_code: int | None = None
    output_tail: str = ""
    duration_sec: float = 0.0
    output_bytes: int = 0
    cut: Cut | None = None
    usage: Usage = Usage()


class TaskRetried(Event, frozen=True, kw_only=True, tag="task.retried"):
    """A new attempt waits for a runner, not before ``not_before``.

    ``counted`` when it used up one of ``max_retries``; one that somebody asked for starts the
    count anew.
    """

    from_status: Status
    attempt: int
    not_before: Instant
    automatic: bool = False
    counted: bool = False
    reason: str = ""


class ExecutionLost(Event, frozen=True, kw_only=True, tag="task.execution_lost"):
    """The lease is over without a result; ``begun`` is false when nothing was started under it.

    ``given_up`` when the runner said so itself, going down; else the lease expired.
    """

    execution_id: UUID
    epoch: int
    runner_id: str
    begun: bool
    reason: str = ""
    given_up: bool = False


TaskEvent = (
    TaskCreated
    | TaskUpdated
    | TaskDeleted
    | StartRequested
    | TaskStarted
    | TaskProgressed
    | ConfirmationRequested
    | TaskConfirmed
    | TaskDenied
    | ChangesRequested
    | ConfirmationExpired
    | QuestionAnswered
    | TaskParked
    | TaskResumed
    | AgentSwitched
    | TaskCompleted
    | TaskFailed
    | CancelRequested
    | TaskCancelled
    | TaskRetried
    | ExecutionLost
)
