"""The bus: requests, signals, and events on their way out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from events.envelope import Recorded
from pandar_daemon.ports.audit import BusAudit

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
    """Asks the daemon: over the bus, or within its process."""

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
        """Make or reconcile the stream of this epoch; return its last sequence, 0 when empty.

        Raises `Unavailable` when the bus is away, or a newer epoch is open.
        """
        ...

    async def last(self) -> int:
        """Return the last sequence of the stream that was opened; raises `Unavailable`."""
        ...

    async def publish(self, batch: Sequence[Recorded]) -> int:
        """Publish dense events in order, each fenced by its predecessor; return the last stored.

        Raises `StreamBehind` when the fence refuses, `Unavailable` when the bus is away; some of
        the batch may be stored then: `open` tells how many.
        """
        ...

    @property
    def up_since(self) -> float | None:
        """Return when the present connection was made, ``None`` while away.

        What was stored over an earlier one may be gone: `open` tells.
        """
        ...


class Live(Protocol):
    """Events as the bus repeats them, or whoever puts them there tells them: fast, in order.

    Some never come, some again after a crash, or when the bus did not take them at once.
    """

    def follow(self) -> AbstractAsyncContextManager[AsyncIterator[Recorded]]:
        """Iterate over events from now on; a gap is for the reader to fill from the log."""
        ...


class Told(Protocol):
    """Those who follow `Live` in the process of whoever puts the events on the bus."""

    def led_here(self) -> AbstractAsyncContextManager[None]:
        """Meanwhile they hear what they are told, and nothing from the bus."""
        ...

    def tell(self, batch: Sequence[Recorded]) -> None:
        """Let them have events of the log, in order."""
        ...
