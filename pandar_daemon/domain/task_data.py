"""What the rules need to know of a task, as data; `task_state` says how events change it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from events import commands as do
from events.calls import Allowance, Scope
from events.task import Json, OnTimeout, Priority, Status, Usage
from pandar_daemon.domain.policy import Policy


class Execution(Struct, frozen=True):
    """One attempt; ``held_key`` is the concurrency key reserved for it."""

    execution_id: UUID
    epoch: int
    runner_id: str
    held_key: str | None = None
    agent: str | None = None  # who does it, whoever takes over afterwards


class Pending(Struct, frozen=True, kw_only=True):
    """The confirmation that waits for a decision.

    ``links`` are the hashes of its approval links and whom they speak for.
    """

    confirmation_id: UUID
    card_sha256: str
    expires_at: datetime
    gate: str = ""
    gates: tuple[str, ...] = ()
    what: str = ""
    call_sha256: str = ""
    on_timeout: OnTimeout = OnTimeout.DENY
    escalated: bool = False
    quorum: int = 1
    votes: tuple[str, ...] = ()
    prevent_self_approval: bool = False
    links: tuple[tuple[str, str], ...] = ()


class Settled(Struct, frozen=True, kw_only=True):
    """A decision that was made; ``expired`` when it was made by nobody, in time."""

    confirmation_id: UUID
    decision: do.Decision
    reason: str = ""
    by: str = ""
    scope: Scope = Scope.CALL
    pattern: str = ""
    expired: bool = False
    gate: str = ""
    gates: tuple[str, ...] = ()
    what: str = ""
    call_sha256: str = ""


class Conversation(Struct, frozen=True):
    """The agent's own session, and the runner's data directory it is in."""

    agent: str
    session_id: str
    store: str


class Task(Struct, frozen=True):
    """What the rules need to know of a task; ``status`` is ``None`` before it was filed."""

    task_id: int
    status: Status | None = None
    deleted: bool = False
    project_id: int = 0
    name: str = ""
    description: str = ""
    command: str = ""
    prompt: str = ""
    created_by: str = ""
    priority: Priority = Priority.MEDIUM
    metadata: Json = {}
    scheduled_at: datetime | None = None
    policy: Policy = Policy()
    queued: bool = False  # a runner may take it; only while PENDING
    not_before: datetime | None = None  # only while PENDING and queued
    attempt: int = 0  # executions started so far
    retries: int = 0  # automatic retries used since somebody last asked for one
    pauses: int = 0  # for want of quota, since then
    epoch: int = 0  # the last epoch given out
    execution: Execution | None = None  # live: its lease is held
    last_execution: UUID | None = None
    progress: int = 0
    pending: Pending | None = None  # set exactly while WAITING_CONFIRMATION
    decided: tuple[Settled, ...] = ()
    asked: int = 0  # how often people were, by this attempt and those it goes on with
    answered: Settled | None = None  # decided last, and not used yet
    cancel_requested: bool = False  # only while an execution is live
    agent: str | None = None  # who works on it now
    switched: bool = False  # another agent takes over when this execution has failed
    conversation: Conversation | None = None  # it can go on, until a run from the start
    parked: bool = False  # its execution was ended on purpose while it waits
    resuming: bool = False  # waits for a runner to go on; only while RUNNING without an execution
    store: str = ""  # where its last execution was
    allowances: tuple[tuple[UUID | None, Allowance], ...] = ()  # for one execution, or for all
    spent: Usage = Usage()
    checkpoint: str = ""  # the ref of the last one
    tail: str = ""  # the end of what the last execution of an agent said, if it is to go on
