"""What can happen to a task, and the values these events are made of.

The tag of an event is its public name and never changes. Fields are only added, at the end, with
a default; anything else is a new ``SCHEMA_VERSION`` and a step in `events.upcast`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from events.calls import Scope, ToolCall, Verdict
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
    AGENT = "agent"  # the agent crashed, broke its protocol, refused, or did not succeed
    MODEL = "model"  # the agent's model could not be reached, or answered with an error
    QUOTA = "quota"  # the provider's quota is used up
    BUDGET = "budget"  # it cost what the task may cost, and nobody allowed more
    LIMIT = "limit"  # it used more of the machine than it may: disk

    @classmethod
    def _missing_(cls, value: object) -> FailureKind | None:
        """Read what a newer release calls a kind of its own as the one that says least."""
        return cls.EXIT_CODE if isinstance(value, str) else None


class Event(Struct, frozen=True, kw_only=True):
    """Base of all events: data only, no behaviour."""

    SCHEMA_VERSION: ClassVar[int] = 1


class Usage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an execution consumed.

    ``input_tokens`` leaves out those read from a cache. Tokens and cost are ``None`` where the
    agent does not tell; ``cost_usd`` is at list price.
    """

    cpu_sec: float = 0.0
    max_rss_bytes: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    thought_tokens: int | None = None
    cost_usd: float | None = None


class OnTimeout(StrEnum):
    """What becomes of a confirmation nobody decides in time; never an approval."""

    DENY = "deny"
    CANCEL = "cancel"  # the task
    ESCALATE = "escalate"  # once: others are told, and the time begins anew; then deny


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
    prompt: str = ""


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
    resumes: UUID | None = None
    store: str = ""


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
    call_sha256: str = ""
    on_timeout: OnTimeout = OnTimeout.DENY
    quorum: int = 1
    prevent_self_approval: bool = False


class ApprovalGiven(Event, frozen=True, kw_only=True, tag="task.approval_given"):
    """One of several people whose approval it takes has approved; the task still waits."""

    confirmation_id: UUID
    by: str
    reason: str = ""


class LinkIssued(Event, frozen=True, kw_only=True, tag="task.link_issued"):
    """Whoever has a secret text may see this confirmation, and decide it as ``approver``.

    Of the text only the SHA-256 is kept, in hex. It is worth nothing once that is decided.
    """

    confirmation_id: UUID
    approver: str
    token_sha256: str


class TaskConfirmed(Event, frozen=True, kw_only=True, tag="task.confirmed"):
    """Somebody approved what the card showed.

    ``by`` decided, also where a service spoke for them; empty in events of before. ``pattern``,
    ``uses``, ``until`` and ``gates`` are those of a `Scope` beyond the call.
    """

    confirmation_id: UUID
    reason: str = ""
    by: str = ""
    scope: Scope = Scope.CALL
    pattern: str = ""
    uses: int | None = None
    until: Instant | None = None
    gates: list[str] = []


class TaskDenied(Event, frozen=True, kw_only=True, tag="task.denied"):
    """Somebody refused what the card showed."""

    confirmation_id: UUID
    reason: str = ""
    by: str = ""


class ChangesRequested(Event, frozen=True, kw_only=True, tag="task.changes_requested"):
    """Somebody wants it done differently; the text goes to the agent."""

    confirmation_id: UUID
    reason: str
    by: str = ""


class ConfirmationEscalated(Event, frozen=True, kw_only=True, tag="task.confirmation_escalated"):
    """Nobody decided in time: others are asked too, until ``expires_at``."""

    confirmation_id: UUID
    expires_at: Instant


class ConfirmationWithdrawn(Event, frozen=True, kw_only=True, tag="task.confirmation_withdrawn"):
    """Who asked wants to know no more: it went on by itself."""

    confirmation_id: UUID
    reason: str = ""


class ConfirmationExpired(Event, frozen=True, kw_only=True, tag="task.confirmation_expired"):
    """Nobody decided in time; it counts as denied."""

    confirmation_id: UUID


class QuestionAnswered(Event, frozen=True, kw_only=True, tag="task.question_answered"):
    """A question of the agent was answered by ``proxy:<agent>`` or ``user``."""

    execution_id: UUID
    question: str
    answer: str
    by: str


class CallDecided(Event, frozen=True, kw_only=True, tag="task.call_decided"):
    """What was done about a tool call, and the rule that said so, before the agent heard of it.

    With ``confirmation_id`` and ``allow`` it is the one use of that approval; ``grant_id`` names
    the standing grant that let it pass.
    """

    execution_id: UUID
    call: ToolCall
    call_sha256: str
    verdict: Verdict
    rule: str
    gates: list[str] = []
    confirmation_id: UUID | None = None
    grant_id: UUID | None = None
    reason: str = ""


class SessionOpened(Event, frozen=True, kw_only=True, tag="task.session_opened"):
    """The agent's own name for its conversation: with it, another process can go on.

    ``store`` names the runner's data directory, where workspace and home are.
    """

    execution_id: UUID
    agent: str
    session_id: str
    store: str = ""


class PolicyNarrowed(Event, frozen=True, kw_only=True, tag="task.policy_narrowed"):
    """A file in the repository narrowed what the execution may do.

    ``refused`` is what it wanted and may not: to widen it. Each is a line for people.
    """

    execution_id: UUID
    changes: list[str] = []
    refused: list[str] = []


class EgressBlocked(Event, frozen=True, kw_only=True, tag="task.egress_blocked"):
    """A program of the execution tried to reach a host it may not call, and was refused.

    ``omitted`` counts further attempts that are not told one by one.
    """

    execution_id: UUID
    host: str
    port: int
    reason: str
    omitted: int = 0


class TaskCheckpointed(Event, frozen=True, kw_only=True, tag="task.checkpointed"):
    """The files of the task as they were then are kept as ``commit``, under ``ref`` in its clone.

    Counted against ``base``, where its branch began: ``commits`` of its own, ``files`` changed,
    committed or not. Of the patch ``patch_bytes`` are kept; ``cut`` when that is not all of it.
    ``skipped`` names files that were left out, and why.
    """

    execution_id: UUID
    ref: str
    commit: str
    base: str
    branch: str = ""
    commits: int = 0
    files: int = 0
    insertions: int = 0
    deletions: int = 0
    patch_bytes: int = 0
    cut: bool = False
    skipped: list[str] = []


class PushedRef(Struct, frozen=True, kw_only=True):
    """One reference of a remote, and what it was before; empty for none."""

    ref: str
    old: str = ""
    new: str = ""


class TaskPushed(Event, frozen=True, kw_only=True, tag="task.pushed"):
    """The runner pushed for the task: these references of ``remote`` were moved.

    ``call_sha256`` is that of the call that was decided before.
    """

    execution_id: UUID
    remote: str
    refs: list[PushedRef]
    commits: int = 0
    call_sha256: str = ""


class TaskPaused(Event, frozen=True, kw_only=True, tag="task.paused"):
    """The execution ended and goes on by itself at ``until``: ``reason`` is ``quota``."""

    execution_id: UUID
    reason: str
    until: Instant
    from_status: Status = Status.RUNNING
    detail: str = ""
    output_tail: str = ""
    duration_sec: float = 0.0
    output_bytes: int = 0
    cut: Cut | None = None
    usage: Usage = Usage()
    agent: str | None = None


class TaskParked(Event, frozen=True, kw_only=True, tag="task.parked"):
    """The agent's process was ended to free its slot while the confirmation waits."""

    execution_id: UUID
    session_id: str = ""
    output_tail: str = ""
    duration_sec: float = 0.0
    output_bytes: int = 0
    cut: Cut | None = None
    usage: Usage = Usage()
    agent: str | None = None


class ResumeRequested(Event, frozen=True, kw_only=True, tag="task.resume_requested"):
    """What a parked task waited for was decided: it waits for a runner to go on."""

    reason: str = ""


class TaskResumed(Event, frozen=True, kw_only=True, tag="task.resumed"):
    """A parked task goes on in a new process: ``execution_id`` is the new execution's."""

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
    agent: str | None = None


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
    agent: str | None = None


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
    agent: str | None = None


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
    agent: str | None = None


TaskEvent = (
    TaskCreated
    | TaskUpdated
    | TaskDeleted
    | StartRequested
    | TaskStarted
    | TaskProgressed
    | ConfirmationRequested
    | ApprovalGiven
    | LinkIssued
    | TaskConfirmed
    | TaskDenied
    | ChangesRequested
    | ConfirmationEscalated
    | ConfirmationWithdrawn
    | ConfirmationExpired
    | CallDecided
    | SessionOpened
    | QuestionAnswered
    | PolicyNarrowed
    | EgressBlocked
    | TaskPushed
    | TaskPaused
    | TaskParked
    | ResumeRequested
    | TaskResumed
    | AgentSwitched
    | TaskCompleted
    | TaskFailed
    | CancelRequested
    | TaskCancelled
    | TaskRetried
    | ExecutionLost
    | TaskCheckpointed
)
