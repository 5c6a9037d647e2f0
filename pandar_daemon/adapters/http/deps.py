"""What the HTTP API needs from the rest of Pandar, and where handlers find it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Final, Protocol
from uuid import UUID

from aiohttp import web

from events.envelope import Recorded
from pandar_daemon.domain.access import Principal
from pandar_daemon.domain.options import GatesOf, registered
from pandar_daemon.ports import (
    Clock,
    ConfirmationReads,
    Diffs,
    EventStore,
    GrantReads,
    Head,
    NotificationReads,
    Outputs,
    ProjectReads,
    Sealer,
    SecretReads,
    Sender,
    TaskReads,
    UsageReads,
    Vault,
    Wire,
)
from pandar_daemon.telemetry import Metrics


class TokenVerifier(Protocol):
    """Tells who holds a bearer token."""

    async def verify(self, token: str) -> Principal:
        """Return its holder; raises `Unauthenticated` for any token that is not valid now."""
        ...


class Tail(Protocol):
    """The end of the log, shared by all streams of a process; each client is a cursor into it."""

    async def after(self, position: int, limit: int) -> list[Recorded]:
        """Return at most ``limit`` events after a position, dense and in order; perhaps none."""
        ...

    async def wait(self, position: int) -> None:
        """Return once there are events after a position."""
        ...


BusPosition = Callable[[Head], Awaitable[int]]
"""Returns the last position on the bus, in the epoch of a head; raises `Unavailable`."""

BusEvent = Callable[[Head, int], Awaitable[list[Recorded]]]
"""Returns the event at a position of the bus, if it has one; raises `Unavailable`."""


async def _nothing_known(_head: Head, _position: int) -> list[Recorded]:
    return []


Opened = Callable[[UUID, str], Coroutine[object, object, None]]
"""Told that the page of a confirmation was opened by a link of an approver's; never raises."""


async def _nobody_told(_confirmation_id: UUID, _approver: str) -> None:
    return


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The API's limits, as its reference states them."""

    body_bytes: int = 1024 * 1024
    line_bytes: int = 8 * 1024
    header_bytes: int = 16 * 1024
    body_sec: float = 30.0
    idle_sec: float = 75.0
    streams: int = 1_000
    streams_per_user: int = 50
    heartbeat_sec: float = 15.0
    write_sec: float = 30.0
    min_position_sec: float = 5.0
    membership_sec: float = 3.0
    ready_lag: int = 10_000
    ready_late_sec: float = 30.0
    ready_stalled_sec: float = 15.0
    requests_per_minute: int = 600
    failures_per_minute: int = 30


@dataclass(frozen=True, kw_only=True)
class Deps:
    """Everything a handler may use.

    ``stalled_sec`` tells for how long the bus has stored nothing that this process sent it.
    ``hosts`` are the host names this server answers to; empty means any. It keeps a web page of
    another origin from reaching a loopback server under a name of its own (DNS rebinding).
    ``allowed_hosts`` are those that channels may name though they are not public. ``own_token``
    speaks for this API itself; ``public_url`` is where browsers find it, empty: where it was asked.
    """

    clock: Clock
    sender: Sender
    store: EventStore
    tasks: TaskReads
    projects: ProjectReads
    usage: UsageReads
    grants: GrantReads
    confirmations: ConfirmationReads
    outputs: Outputs
    wire: Wire
    tail: Tail
    verifier: TokenVerifier
    own_token: Callable[[], str]
    metrics: Metrics
    bus_position: BusPosition
    agents: frozenset[str]
    gates_of: GatesOf = registered
    hosts: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)
    bus_event: BusEvent = _nothing_known
    notifications: NotificationReads | None = None
    sealer: Sealer | None = None
    secrets: SecretReads | None = None
    vault: Vault | None = None
    allowed_hosts: frozenset[str] = frozenset()
    stalled_sec: Callable[[], float] = lambda: 0.0
    public_url: str = ""
    diffs: Diffs | None = None
    opened: Opened = _nobody_told


DEPS: Final = web.AppKey("DEPS", Deps)
PRINCIPAL: Final = web.RequestKey("PRINCIPAL", Principal)
TOKEN: Final = web.RequestKey("TOKEN", str)
REQUEST_ID: Final = web.RequestKey("REQUEST_ID", str)
TRACEPARENT: Final = web.RequestKey("TRACEPARENT", str)


def deps(request: web.Request) -> Deps:
    """Return what the handler of a request may use."""
    return request.app[DEPS]
