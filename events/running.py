"""What runners and the daemon say to each other: claims, leases, reports."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from events.commands import REASON_MAX, TAIL_MAX, Command, Id, Int32
from events.ids import ID_MAX
from events.instant import Instant
from events.task import Cut, FailureKind, Json, Usage


class Claim(Command, frozen=True, kw_only=True):
    """A runner with free slots asks for work; the answer is `Assignments`."""

    slots: Annotated[int, Meta(ge=1, le=1_000)] = 1
    wait_sec: Annotated[float, Meta(ge=0, le=20)] = 0.0


class Held(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One lease a runner believes it holds."""

    task_id: Id
    execution_id: UUID
    epoch: Int32


class Renew(Command, frozen=True, kw_only=True):
    """A runner says which leases it still holds; the answer is `Renewed`."""

    leases: Annotated[list[Held], Meta(max_length=1_000)]


class ReportProgress(Command, frozen=True, kw_only=True):
    """How far an execution is, in percent."""

    task_id: Id
    execution_id: UUID
    epoch: Int32
    progress: Annotated[int, Meta(ge=0, le=100)]
    message: Annotated[str, Meta(max_length=REASON_MAX)] = ""


class AskConfirmation(Command, frozen=True, kw_only=True):
    """An execution stops at a gate until somebody decides."""

    task_id: Id
    execution_id: UUID
    epoch: Int32
    confirmation_id: UUID
    gate: Annotated[str, Meta(min_length=1, max_length=64)]
    card: Json
    expires_at: Instant


class Outcome(StrEnum):
    """How an execution ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"  # its runner is going down and killed it: as if the lease had expired


class FinishExecution(Command, frozen=True, kw_only=True):
    """An execution has ended and no process of it is left."""

    task_id: Id
    execution_id: UUID
    epoch: Int32
    outcome: Outcome
    exit_code: Int32 | None = None
    error: Annotated[str, Meta(max_length=2_000)] = ""
    kind: FailureKind = FailureKind.EXIT_CODE
    output_tail: Annotated[str, Meta(max_length=TAIL_MAX)] = ""
    output_bytes: Annotated[int, Meta(ge=0, le=ID_MAX)] = 0
    cut: Cut | None = None
    duration_sec: Annotated[float, Meta(ge=0)] = 0.0
    usage: Usage = Usage()


class Assignment(Struct, frozen=True, kw_only=True):
    """One execution leased to a runner."""

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
    "finish": FinishExecution,
}
"""The runner's side, ``pandar.v1.run.{action}.{runner}``."""
