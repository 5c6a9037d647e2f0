"""What the services need from the world, as small protocols; adapters implement them.

Every port is proven by one contract suite in ``tests/contract`` against the real thing.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from events.commands import Held, LeaseState
from events.envelope import Recorded
from events.task import Cut, Event, Json
from pandar_daemon.domain.access import Principal
from projections.base import Change, ReadModel, Rows


class Clock(Protocol):
    """The only source of time and randomness."""

    def now(self) -> datetime:
        """Return the present as an aware UTC datetime."""
        ...

    def boottime(self) -> float:
        """Return seconds on a clock that never jumps and counts suspended time."""
        ...

    def new_id(self) -> UUID:
        """Return a fresh UUIDv7."""
        ...


# --- the log ---------------------------------------------------------------------------------


class Key(Struct, frozen=True, order=True):
    """A set constraint: at most one holder of ``(scope, key)`` at a time."""

    scope: str  # "concurrency" | "confirmation" | "firing"
    key: str


class LeaseOp(StrEnum):
    """What an append asks of, or does to, the lease of a task, in the same transaction."""

    ACQUIRE = "acquire"  # make it; refused while another is there
    HOLD = "hold"  # it must be there with this execution and epoch
    RELEASE = "release"  # HOLD, then remove it
    EXPIRE = "expire"  # it must be there, past its expiry; then remove it
    CANCEL = "cancel"  # HOLD, and tell its runner with the next renewal that it is to end


class LeaseChange(Struct, frozen=True, kw_only=True):
    """``runner_id`` and ``ttl_sec`` are read by ACQUIRE only."""

    op: LeaseOp
    task_id: int
    execution_id: UUID
    epoch: int
    runner_id: str = ""
    ttl_sec: float = 0.0


class Append(Struct, frozen=True, kw_only=True):
    """One command's effect, appended whole or not at all.

    ``expected_version`` is the version the decision was based on, 0 for a new stream. ``events``
    may be empty: then only the receipt is kept. ``answer`` is the JSON the asker gets for ever
    (without position and version, which the receipt adds).
    """

    stream: str
    expected_version: int
    events: tuple[Event, ...]
    command_id: str
    request_sha256: bytes
    answer: bytes
    actor: str
    project_id: int | None
    correlation_id: str
    causation_id: str | None = None
    traceparent: str | None = None
    reserve: tuple[Key, ...] = ()
    release: tuple[Key, ...] = ()
    lease: LeaseChange | None = None


class Receipt(Struct, frozen=True, kw_only=True):
    """What is kept of a command; ``answer`` is what its asker got, without position and version."""

    command_id: str
    request_sha256: bytes
    stream: str
    position: int
    version: int
    answer: bytes


class Appended(Struct, frozen=True, kw_only=True):
    """It is durable. Position and version of its last event, or of the stream when it had none."""

    position: int
    version: int


class Replayed(Struct, frozen=True):
    """The command id was stored before; nothing was appended."""

    receipt: Receipt


class Conflict(Struct, frozen=True):
    """The stream is at another version; nothing was appended: reload and decide again."""

    actual_version: int


class KeyTaken(Struct, frozen=True):
    """A key is held by another stream; nothing was appended."""

    key: Key


class Fenced(Struct, frozen=True):
    """The lease is not what the append needs it to be; nothing was appended."""


Verdict = Appended | Replayed | Conflict | KeyTaken | Fenced


class Head(Struct, frozen=True):
    """The end of the log: its last position, and the epoch its stream on the bus is named by."""

    position: int
    epoch: int


class AppendFailed(Exception):
    """The store refused this item alone (a value it cannot hold, say); its neighbours went in."""


class EventStore(Protocol):
    """The log: the only truth."""

    async def append(self, item: Append) -> Verdict:
        """Append durably, all or nothing; see `Verdict`.

        Raises `AppendFailed` for an item the store cannot hold, and `ConnectionError` when the
        outcome is unknown: asking again with the same command id is safe.
        """
        ...

    async def read_stream(
        self, stream: str, *, after_version: int = 0, up_to: int | datetime | None = None
    ) -> list[Recorded]:
        """Return a stream's events in order, ``up_to`` a position or a time, inclusive."""
        ...

    async def read_all(self, *, after: int, limit: int) -> list[Recorded]:
        """Return at most ``limit`` events from position ``after + 1`` on, dense and in order."""
        ...

    async def receipt(self, command_id: str) -> Receipt | None:
        """Return what is kept of a command, if it was ever stored."""
        ...

    async def head(self) -> Head:
        """Return the end of the log."""
        ...


class Numbers(Protocol):
    """Integer ids for what people type."""

    async def next(self, category: str) -> int:
        """Return an id of ``task`` or ``project`` never returned before, by any process."""
        ...


class Lease(Struct, frozen=True, kw_only=True):
    """A lease as stored; ``begun`` once its runner renewed it for the first time."""

    task_id: int
    execution_id: UUID
    epoch: int
    runner_id: str
    begun: bool


class Leases(Protocol):
    """Renewal and expiry of leases; making and removing them is part of an append."""

    async def renew(
        self, runner_id: str, held: Sequence[Held], ttl_sec: float
    ) -> dict[UUID, LeaseState]:
        """Extend those of ``held`` this runner really holds; say of each what it is now."""
        ...

    async def expired(self) -> list[Lease]:
        """Return the leases past their expiry, by the store's clock."""
        ...


class Rejections(Protocol):
    """Where what came from a stale lease is kept for forensics."""

    async def keep(
        self, *, stream: str, command_id: str, actor: str, reason: str, body: bytes
    ) -> None:
        """Keep it; never applied to anything."""
        ...


class Verifier(Protocol):
    """Tells who speaks."""

    async def verify(self, token: str) -> Principal:
        """Return whom a bearer token speaks for; raises `Unauthenticated`."""
        ...

    async def verify_proof(
        self, proof: str, *, subject: str, command_id: str, body: bytes, at: datetime
    ) -> Principal:
        """Return who queued this very command by ``at``; raises `Unauthenticated`."""
        ...


class LogAudit(Protocol):
    """What the store itself can tell of the log's integrity."""

    async def faults(self) -> list[str]:
        """Return what contradicts the log's promises, a line each: gaps, versions, the head."""
        ...

    async def held(self) -> tuple[dict[int, UUID], set[Key]]:
        """Return the leases (task to execution) and the reserved keys there are."""
        ...


class ServedRows(Protocol):
    """Reads back what a read model serves."""

    async def rows(self, model: ReadModel) -> tuple[int, dict[str, Rows]]:
        """Return the position of the generation being served, and all its rows, at one moment.

        Raises `CheckpointLost` when none is being served yet.
        """
        ...


class BusAudit(Protocol):
    """Reads back what is on the bus."""

    async def stored(self, epoch: int, *, after: int, limit: int) -> list[Recorded]:
        """Return events of the stream after a sequence, in order; raises `Unavailable`."""
        ...


class Leadership(Protocol):
    """One active process per role, by a lease in the store."""

    async def acquire(self, role: str, holder: str, ttl_sec: float) -> bool:
        """Take or extend the lead of a role; false while another holds it."""
        ...

    async def resign(self, role: str, holder: str) -> None:
        """Give the lead up, if held."""
        ...


# --- the bus ---------------------------------------------------------------------------------

Headers = Mapping[str, str]


class Message(Struct, frozen=True, kw_only=True):
    """A message from the bus; header names are in lower case.

    ``queued_at`` is when the durable queue stored it, by the queue's own clock; its sender has no
    say in it.
    """

    subject: str
    body: bytes
    headers: Headers = {}
    queued_at: datetime | None = None


Handler = Callable[[Message], Awaitable[bytes]]
"""Answers a request with JSON or raises a `Refusal`; anything else is a 500 without detail."""


class Door(Protocol):
    """One way in for requests: the NATS service, or the durable queue."""

    async def serve(self, handler: Handler, ready: Callable[[], None]) -> None:
        """Answer requests concurrently until cancelled, then finish those in hand.

        Calls ``ready`` once requests can arrive. Survives a lost or closed connection. A problem
        is answered as ``application/problem+json``; the text of an unexpected exception never is.
        """
        ...


class Sender(Protocol):
    """Asks the daemon over the bus."""

    async def ask(
        self, subject: str, body: bytes, *, headers: Headers | None = None, timeout_sec: float = 5.0
    ) -> bytes:
        """Return the answer's body.

        Raises the `Refusal` the other side answered with, or `Unavailable` when nobody answers in
        time (asking again with the same ``Pandar-Command-Id`` is safe).
        """
        ...


class Wire(Protocol):
    """Core NATS: at most once, for hints and signals."""

    async def publish(self, subject: str, body: bytes, headers: Headers | None = None) -> None:
        """Send without promise; silently dropped while the bus is away."""
        ...

    def subscribe(self, subject: str) -> AbstractAsyncContextManager[AsyncIterator[Message]]:
        """Iterate over messages from now on; resubscribes after a reconnect. Drops on overflow."""
        ...

    async def rtt(self) -> float:
        """Return the round-trip time in seconds; raises `Unavailable` when the bus is away."""
        ...

    @property
    def up_since(self) -> float | None:
        """Return the boottime at which the present connection was made, ``None`` while away."""
        ...


class StreamBehind(Exception):
    """The stream's last sequence is not the position before the batch; re-read it and go on."""


class EventStream(BusAudit, Protocol):
    """The relay's side of ``PANDAR_EVENTS_{epoch}``, whose sequence is the log position."""

    async def open(self, epoch: int) -> int:
        """Make or reconcile the stream of this epoch; return its last sequence, 0 when empty."""
        ...

    async def publish(self, batch: Sequence[Recorded]) -> int:
        """Publish dense events in order, each fenced by its predecessor; return the last stored.

        Raises `StreamBehind` when the fence refuses, `Unavailable` when the bus is away; some of
        the batch may be stored then: `open` tells how many.
        """
        ...


class Live(Protocol):
    """Events as the bus repeats them once stored: fast, in order, at most once."""

    def follow(self) -> AbstractAsyncContextManager[AsyncIterator[Recorded]]:
        """Iterate over events from now on; a gap is for the reader to fill from the log."""
        ...


class OutputKey(Struct, frozen=True, kw_only=True):
    """Whose output it is."""

    project_id: int
    task_id: int
    attempt: int


class Chunk(Struct, frozen=True, kw_only=True):
    """At most 64 KiB of output, beginning ``offset`` bytes into it."""

    offset: int
    data: bytes


class Outputs(Protocol):
    """Agent output on the bus, within its retention."""

    async def write(self, key: OutputKey, execution_id: UUID, chunks: Sequence[Chunk]) -> None:
        """Store chunks durably, in order; repeating one already stored is harmless.

        Raises `Unavailable` when the bus is away: some may be stored.
        """
        ...

    def read(self, key: OutputKey, *, start: int = 0) -> AsyncIterator[Chunk]:
        """Iterate over what is stored from byte ``start`` on, without overlap, then end."""
        ...

    async def size(self, key: OutputKey) -> int:
        """Return the offset after the last byte stored, 0 when there is none.

        Raises `Unavailable` when the bus is away.
        """
        ...

    def follow(
        self, key: OutputKey, *, start: int = 0
    ) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """Like `read`, then go on with what arrives; ends only when the caller stops."""
        ...


# --- read models -----------------------------------------------------------------------------


class Checkpoint(Struct, frozen=True, kw_only=True):
    """How far a generation of a read model is.

    The one that is ``live`` is served; a greater generation is under construction, a smaller one
    is over. Of the ``parked`` streams it knows nothing after the event it could not take.
    """

    model: str
    generation: int
    version: int
    position: int
    live: bool
    parked: frozenset[str] = frozenset()


class Poison(Struct, frozen=True, kw_only=True):
    """An event a read model cannot take, and why."""

    stream: str
    position: int
    error: str


class Step(Struct, frozen=True, kw_only=True):
    """What the events up to ``position`` do to a read model.

    ``poison`` parks its streams; ``skipped`` counts the events left out of parked streams.
    """

    position: int
    changes: Sequence[Change] = ()
    poison: Sequence[Poison] = ()
    skipped: Mapping[str, int] = {}


class CheckpointLost(Exception):
    """The generation is at another position, or gone: another process moved it; look again."""


class ChangeRefused(Exception):
    """The store cannot hold one of the changes; nothing was applied."""


class Views(Protocol):
    """Where read models live: generations side by side, one of each model being served."""

    async def checkpoints(self) -> list[Checkpoint]:
        """Return all generations there are."""
        ...

    async def begin(self, model: ReadModel, *, beside: int) -> Checkpoint:
        """Return the generation that follows ``beside`` (0: none), made empty if there is none.

        Whoever asks first makes it. It may be of a newer version, made by a newer release.
        """
        ...

    async def apply(self, model: ReadModel, at: Checkpoint, step: Step) -> Checkpoint:
        """Apply a step and move the checkpoint in one transaction; return the new checkpoint.

        Raises `CheckpointLost`, `ChangeRefused`, or ``ConnectionError`` when the outcome is
        unknown: applying again is safe, for the checkpoint tells.
        """
        ...

    async def swap(self, model: ReadModel, at: Checkpoint) -> bool:
        """Finish a generation and serve it instead of the present one.

        False, and no harm done, while it is behind the one being served: catch up, then ask again.
        """
        ...

    async def discard(self, at: Checkpoint) -> bool:
        """Drop a generation that is over; false while readers are still on it: ask again later."""
        ...


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

    async def timeline(self, task_id: int, *, after: int, limit: int) -> list[Json]:
        """Return what happened to a task after a position, in order."""
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


# --- processes -------------------------------------------------------------------------------


class Exit(Struct, frozen=True, kw_only=True):
    """How a process tree ended; nothing of it is left."""

    exit_code: int | None  # None when it was killed by us
    signal: int | None = None
    cpu_sec: float = 0.0
    max_rss_bytes: int = 0


class Spec(Struct, frozen=True, kw_only=True):
    """What to run. ``environment`` is complete: nothing is inherited.

    ``until`` is the first `Process.allow_until`, in force before the first instruction.
    """

    execution_id: UUID
    argv: tuple[str, ...]
    cwd: str
    environment: Mapping[str, str]
    until: float = math.inf
    columns: int = 120
    rows: int = 40


class Process(Protocol):
    """A process tree under a guardian that outlives us only long enough to kill it."""

    def output(self) -> AsyncIterator[bytes]:
        """Iterate over what the terminal shows, until the last process closed it."""
        ...

    async def allow_until(self, boottime: float) -> None:
        """Let it run until then; past it the whole tree is frozen, until allowed again."""
        ...

    async def kill(self) -> None:
        """Kill the whole tree, processes that left its session included; idempotent."""
        ...

    async def wait(self) -> Exit:
        """Return once nothing of the tree is left."""
        ...


class ProcessHost(Protocol):
    """Starts process trees, each in a session of its own under a terminal."""

    async def start(self, spec: Spec) -> Process:
        """Start it; raises ``OSError`` naming what could not be started."""
        ...

    async def sweep(self) -> int:
        """Kill what an earlier, killed incarnation of this runner left; return how many."""
        ...


class Spool(Protocol):
    """The output of one execution on its way to the bus; on disk, so that it outlives us.

    It keeps the first half of its limit and the last; the rest is dropped and named by `cut`.
    """

    key: OutputKey
    execution_id: UUID

    def append(self, data: bytes) -> None:
        """Add what came next; raises ``OSError`` when the disk is full."""
        ...

    def seal(self) -> Cut | None:
        """Say that nothing more comes; return what was dropped. Idempotent."""
        ...

    async def unpublished(self) -> list[Chunk]:
        """Wait for, and return, the next chunks to publish; empty when all of it is."""
        ...

    def acknowledge(self, end: int) -> None:
        """Never return bytes before this offset again, not even after a restart."""
        ...

    def remove(self) -> None:
        """Delete it from the disk. Idempotent."""
        ...


class Spools(Protocol):
    """The spools of this runner."""

    def create(self, key: OutputKey, execution_id: UUID, *, limit_bytes: int) -> Spool:
        """Make an empty one that keeps at most so much; raises ``OSError`` when it cannot."""
        ...

    def recover(self) -> Sequence[Spool]:
        """Return, sealed, what a killed incarnation of this runner left unpublished."""
        ...
