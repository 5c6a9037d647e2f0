"""What runners and the daemon say to each other: claims, leases, reports."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from events.calls import MOVES_MAX, Allowance, Rules, Scope, ToolCall, Verdict
from events.commands import REASON_MAX, TAIL_MAX, Command, Decision, Id, Int32
from events.confinement import Confines
from events.ids import ID_MAX
from events.instant import Instant
from events.secret import DataKey, SealedSecret
from events.task import Cut, FailureKind, Json, OnTimeout, PushedRef, Usage

Count = Annotated[int, Meta(ge=0, le=ID_MAX)]


class Claim(Command, frozen=True, kw_only=True):
    """A runner with free slots asks for work; the answer is `Assignments`.

    ``store`` names its data directory: what is parked there can go on only there.
    """

    slots: Annotated[int, Meta(ge=1, le=1_000)] = 1
    wait_sec: Annotated[float, Meta(ge=0, le=20)] = 0.0
    store: Annotated[str, Meta(max_length=64)] = ""


class Held(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One lease a runner believes it holds."""

    task_id: Id
    execution_id: UUID
    epoch: Int32


class Renew(Command, frozen=True, kw_only=True):
    """A runner says which leases it still holds; the answer is `Renewed`."""

    leases: Annotated[list[Held], Meta(max_length=1_000)]


class OfExecution(Command, frozen=True, kw_only=True):
    """Base of all that a runner says of one execution; refused once that is over."""

    task_id: Id
    execution_id: UUID
    epoch: Int32


class ReportProgress(OfExecution, frozen=True, kw_only=True):
    """How far an execution is, in percent."""

    progress: Annotated[int, Meta(ge=0, le=100)]
    message: Annotated[str, Meta(max_length=REASON_MAX)] = ""


class AskConfirmation(OfExecution, frozen=True, kw_only=True):
    """An execution stops at a gate until somebody decides."""

    confirmation_id: UUID
    gate: Annotated[str, Meta(min_length=1, max_length=64)]
    card: Json
    expires_at: Instant
    call_sha256: Annotated[str, Meta(max_length=64)] = ""
    on_timeout: OnTimeout = OnTimeout.DENY
    quorum: Annotated[int, Meta(ge=1, le=10)] = 1
    prevent_self_approval: bool = False


class WithdrawConfirmation(OfExecution, frozen=True, kw_only=True):
    """An execution went on without the answer it asked for."""

    confirmation_id: UUID
    reason: Annotated[str, Meta(max_length=REASON_MAX)] = ""


class LookUpDecision(OfExecution, frozen=True, kw_only=True):
    """An execution wants to know what was decided; the answer is `Decided`."""

    confirmation_id: UUID


class Decided(Struct, frozen=True, kw_only=True):
    """What was decided on a confirmation; ``decision`` is ``None`` while it is pending.

    ``expired`` when nobody decided in time, which counts as denied.
    """

    decision: Decision | None = None
    reason: str = ""
    by: str = ""
    scope: Scope = Scope.CALL
    pattern: str = ""
    expired: bool = False


class RecordCall(OfExecution, frozen=True, kw_only=True):
    """What a runner does about a tool call: sent, and answered, before the agent is.

    With ``confirmation_id`` it uses that approval, which can be done once. ``call_sha256`` is the
    hash of the call as the agent made it; ``call`` may have had secrets taken out.
    """

    call: ToolCall
    verdict: Verdict
    rule: Annotated[str, Meta(max_length=200)]
    gates: Annotated[list[str], Meta(max_length=50)] = []
    confirmation_id: UUID | None = None
    grant_id: UUID | None = None
    reason: Annotated[str, Meta(max_length=REASON_MAX)] = ""
    call_sha256: Annotated[str, Meta(max_length=64)] = ""


class OpenSession(OfExecution, frozen=True, kw_only=True):
    """An agent named its conversation."""

    agent: Annotated[str, Meta(max_length=64)]
    session_id: Annotated[str, Meta(max_length=200)]
    store: Annotated[str, Meta(max_length=64)] = ""


class AnswerQuestion(OfExecution, frozen=True, kw_only=True):
    """A question that is no gate was answered, by ``proxy:<agent>``."""

    question: Annotated[str, Meta(max_length=2_000)]
    answer: Annotated[str, Meta(max_length=2_000)]
    by: Annotated[str, Meta(max_length=80)]


class ReportNarrowed(OfExecution, frozen=True, kw_only=True):
    """A file in the repository narrowed what an execution may do; ``refused`` is what it may not.

    Each is a line for people.
    """

    changes: Annotated[list[Annotated[str, Meta(max_length=8_000)]], Meta(max_length=50)] = []
    refused: Annotated[list[Annotated[str, Meta(max_length=8_000)]], Meta(max_length=50)] = []


class ReportBlocked(OfExecution, frozen=True, kw_only=True):
    """A program of an execution tried to reach a host it may not call.

    ``omitted`` counts further attempts that are not told one by one.
    """

    host: Annotated[str, Meta(max_length=255)]
    port: Annotated[int, Meta(ge=0, le=65_535)]
    reason: Annotated[str, Meta(max_length=REASON_MAX)]
    omitted: Annotated[int, Meta(ge=0, le=ID_MAX)] = 0


class ListGrants(OfExecution, frozen=True, kw_only=True):
    """An execution wants to know what its project consented to; the answer is `Granted`."""


class ListEnded(Command, frozen=True, kw_only=True):
    """A runner wants to know which of the tasks it has folders of are over; answer: `Endings`."""

    task_ids: Annotated[list[Id], Meta(max_length=100)]


class Ending(Struct, frozen=True, kw_only=True):
    """When a task was last heard of that is over, and whether it failed."""

    at: Instant
    failed: bool = False


class Endings(Struct, frozen=True, kw_only=True):
    """Those tasks of a `ListEnded` that are over; whose id nobody knows is none of them."""

    ended: dict[int, Ending] = {}


class Granted(Struct, frozen=True, kw_only=True):
    """The standing grants of a project that let something pass now."""

    items: list[Allowance] = []


class ListSecrets(OfExecution, frozen=True, kw_only=True):
    """An execution needs its project's secrets, sealed; the answer is `SealedSecrets`.

    They are told by name, those after ``after``.
    """

    after: Annotated[str, Meta(max_length=64)] = ""


class SealedSecrets(Struct, frozen=True, kw_only=True):
    """Secrets of a project as they are now; with ``more``, ask for those after the last one.

    Who has a master key that opens ``key`` can read them. Without ``key`` there are none.
    """

    project_id: int
    key: DataKey | None = None
    items: list[SealedSecret] = []
    more: bool = False


class ReportPush(OfExecution, frozen=True, kw_only=True):
    """The runner pushed for an execution."""

    remote: Annotated[str, Meta(max_length=2_048)]
    refs: Annotated[list[PushedRef], Meta(min_length=1, max_length=MOVES_MAX)]
    commits: Annotated[int, Meta(ge=0)] = 0
    call_sha256: Annotated[str, Meta(max_length=64)] = ""


class SwitchAgent(OfExecution, frozen=True, kw_only=True):
    """The agent failed: another one takes over with the next attempt."""

    to_agent: Annotated[str, Meta(max_length=64)]
    reason: Annotated[str, Meta(max_length=REASON_MAX)] = ""


class Outcome(StrEnum):
    """How an execution ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"  # its runner is going down and killed it: as if the lease had expired
    PARKED = "parked"  # its process was ended while a confirmation waits; another one goes on
    PAUSED = "paused"  # it is to go on at ``until``, for the provider's quota is used up


class RecordCheckpoint(OfExecution, frozen=True, kw_only=True):
    """The files of an execution, as they are now, are kept under ``ref`` in its clone.

    See `events.task.TaskCheckpointed`.
    """

    ref: Annotated[str, Meta(min_length=1, max_length=200)]
    commit: Annotated[str, Meta(pattern=r"^[0-9a-f]{40,64}\Z")]
    base: Annotated[str, Meta(pattern=r"^[0-9a-f]{40,64}\Z")]
    branch: Annotated[str, Meta(max_length=300)] = ""
    commits: Count = 0
    files: Count = 0
    insertions: Count = 0
    deletions: Count = 0
    patch_bytes: Count = 0
    cut: bool = False
    skipped: Annotated[list[str], Meta(max_length=20)] = []


class FinishExecution(OfExecution, frozen=True, kw_only=True):
    """An execution has ended and no process of it is left."""

    outcome: Outcome
    exit_code: Int32 | None = None
    error: Annotated[str, Meta(max_length=2_000)] = ""
    kind: FailureKind = FailureKind.EXIT_CODE
    output_tail: Annotated[str, Meta(max_length=TAIL_MAX)] = ""
    output_bytes: Annotated[int, Meta(ge=0, le=ID_MAX)] = 0
    cut: Cut | None = None
    duration_sec: Annotated[float, Meta(ge=0)] = 0.0
    usage: Usage = Usage()
    until: Instant | None = None


class Resume(Struct, frozen=True, kw_only=True):
    """What a new process needs to go on where another one was.

    With ``confirmation_id`` something was decided meanwhile: an approval is for the one call whose
    hash is ``call_sha256``, and which ``what`` puts into words. ``summary`` is what to begin with
    if the session cannot be loaded.
    """

    session_id: str = ""
    confirmation_id: UUID | None = None
    gate: str = ""
    what: str = ""
    call_sha256: str = ""
    decided: Decided | None = None
    summary: str = ""


class Repository(Struct, frozen=True, kw_only=True):
    """What a task works on a clone of, from ``base_branch``: empty is the one it names itself.

    ``url`` is a URL or an absolute path; ``setup`` a shell command that makes a clone ready.
    """

    url: str
    base_branch: str = ""
    setup: str = ""


class Assignment(Struct, frozen=True, kw_only=True):
    """One execution leased to a runner.

    ``secrets`` is how many its project had of late; ``None`` when that is not known.
    """

    task_id: int
    project_id: int
    execution_id: UUID
    epoch: int
    attempt: int
    command: str
    name: str
    metadata: Json
    agent: str | None = None
    traceparent: str | None = None
    prompt: str = ""
    created_by: str = ""
    rules: Rules = Rules()
    allowances: list[Allowance] = []
    resume: Resume | None = None
    spent: Usage = Usage()
    confines: Confines = Confines()
    repository: Repository | None = None
    secrets: int | None = None


class Assignments(Struct, frozen=True, kw_only=True):
    """What a claim was given; perhaps nothing. Each lease lasts ``ttl_sec`` from the answer."""

    ttl_sec: float
    items: list[Assignment] = []


class LeaseState(StrEnum):
    """What became of a lease a runner asked about."""

    HELD = "held"
    CANCEL = "cancel"  # still held, but the task is to be cancelled: kill and finish
    LOST = "lost"  # not this runner's any more: kill and say nothing


class Renewed(Struct, frozen=True, kw_only=True):
    """The state of each lease of a `Renew`, by execution id."""

    ttl_sec: float
    leases: dict[UUID, LeaseState]


RUNNER_ACTIONS: dict[str, type[Command]] = {
    "claim": Claim,
    "renew": Renew,
    "progress": ReportProgress,
    "ask": AskConfirmation,
    "withdraw": WithdrawConfirmation,
    "decision": LookUpDecision,
    "record": RecordCall,
    "session": OpenSession,
    "answered": AnswerQuestion,
    "switch": SwitchAgent,
    "grants": ListGrants,
    "secrets": ListSecrets,
    "pushed": ReportPush,
    "finish": FinishExecution,
    "ended": ListEnded,
    "narrowed": ReportNarrowed,
    "blocked": ReportBlocked,
    "checkpoint": RecordCheckpoint,
}
"""The runner's side, ``pandar.v1.run.{action}.{runner}``."""
