"""The log: the only truth, and the only way into it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from events.envelope import Recorded
from events.task import Event


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
    """``runner_id`` is whose it becomes (ACQUIRE) or must be; empty when no runner speaks.

    ``ttl_sec`` is read by ACQUIRE only.
    """

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


class LogDamaged(Exception):
    """Positions that were given out are not in the log: names the first of them."""


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

    async def receipts(self, command_ids: Sequence[str]) -> list[Receipt]:
        """Return what is kept of those commands that were ever stored, in their order."""
        ...

    async def head(self) -> Head:
        """Return the end of the log."""
        ...


class Numbers(Protocol):
    """Integer ids for what people type."""

    async def next(self, category: str) -> int:
        """Return an id of ``task`` or ``project`` never returned before, by any process."""
        ...
