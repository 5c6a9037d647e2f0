"""Is it alive, is it ready, and how is it: for supervisors and Prometheus, outside of the API."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import defaultdict, deque
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Final, TypeVar

from aiohttp import web

from events.task import Json
from pandar_daemon.adapters.http.bodies import answer
from pandar_daemon.adapters.http.deps import PRINCIPAL, BusPosition, Deps, deps
from pandar_daemon.adapters.http.middlewares import authenticate
from pandar_daemon.domain import access
from pandar_daemon.domain.access import Permission
from pandar_daemon.domain.refusals import Forbidden
from pandar_daemon.ports import EventStore, Head, OutputKey, Wire
from pandar_daemon.telemetry import Metrics
from pandar_daemon.telemetry.metrics import CONTENT_TYPE

T = TypeVar("T")
PROBE_SEC: Final = 2.0
"""How long a part may take to answer before it counts as away."""

AHEAD: Final = "the stream is ahead of the log: see `pandar epoch advance`"
DIVERGED: Final = "the stream ends with another event than the log: see `pandar epoch advance`"
STORES_NOTHING: Final = "the bus stores nothing: free its disk, then restart nats-server"
_SEEN_MAX: Final = 1_000
_NOBODYS: Final = OutputKey(project_id=0, task_id=0, attempt=0)


class Lateness:
    """How long ago the log reached what a follower of it has not reached yet.

    Made of what the probes saw, by a clock nobody sets: a wall clock that jumps makes no one late.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[int, float]] = deque()

    def seconds(self, head: int, position: int, now: float) -> float:
        """Return the follower's lateness, with the log at ``head`` now and it at ``position``."""
        if self._seen and self._seen[-1][0] > head:
            self._seen.clear()  # another log: restored from a backup
        if len(self._seen) < _SEEN_MAX and (not self._seen or self._seen[-1][0] < head):
            self._seen.append((head, now))
        while self._seen and self._seen[0][0] <= position:
            self._seen.popleft()
        return now - self._seen[0][1] if self._seen else 0.0


LATENESS: Final = web.AppKey("LATENESS", defaultdict[str, Lateness])


async def alive(_request: web.Request) -> web.Response:
    """Answer that this process's loop turns."""
    return answer({"status": "alive"})


async def ready(request: web.Request) -> web.Response:
    """Answer 200 when requests can be served, else 503 with every reason.

    Two lags are told, never one: how far the read models are behind the log, and how far the bus
    is; both in events. A lag beyond 10,000, or of whatever size for 30 s, makes it not ready; so
    does one below 0, which is a bus that has events the log has not, or has others.
    """
    needs = deps(request)
    reasons: list[str] = []
    head = await _probe("postgres", needs.store.head(), reasons)
    rtt = await _probe("nats", needs.wire.rtt(), reasons)
    found: Json = {"head": head and head.position, "nats_rtt_sec": rtt and round(rtt, 6)}
    if head is not None:
        found |= await _lags(request, head, reasons)
    await _probe("output stream", needs.outputs.size(_NOBODYS), reasons)
    if needs.stalled_sec() >= needs.limits.ready_stalled_sec:
        reasons.append(STORES_NOTHING)
    found |= {"status": "unready" if reasons else "ready", "reasons": reasons}
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    return answer(found, status=status, headers={"Cache-Control": "no-store"})


async def _lags(request: web.Request, head: Head, reasons: list[str]) -> Json:
    needs = deps(request)
    projected = await _probe("read models", needs.projects.position(), reasons)
    if projected == 0 and head.position > 0:
        reasons.append("the read models are being made")
    lag_of_bus = await _probe(
        "event stream", bus_lag(needs.store, needs.bus_position, head), reasons
    )
    lags = {
        "projection_lag": None if projected is None else max(0, head.position - projected),
        "bus_lag": lag_of_bus,
    }
    for name, lag in lags.items():
        if lag is not None and lag >= 0:
            late = request.app[LATENESS][name]
            behind_sec = late.seconds(head.position, head.position - lag, needs.clock.boottime())
            if lag > needs.limits.ready_lag:
                reasons.append(f"{name} is {lag} events")
            elif behind_sec >= needs.limits.ready_late_sec:
                reasons.append(f"{name} is {lag} events for {behind_sec:.0f} s")
    if lag_of_bus is not None and lag_of_bus < 0:
        reasons.append(AHEAD)
    elif lag_of_bus is not None and await _probe(
        "last event", _differs(needs, head, head.position - lag_of_bus), reasons
    ):
        reasons.append(DIVERGED)
    return lags


async def _differs(needs: Deps, head: Head, published: int) -> bool:
    """Tell whether the bus ends with another event than the log has there."""
    if published < 1:
        return False
    theirs = await needs.bus_event(head, published)
    ours = await needs.store.read_all(after=published - 1, limit=1)
    return bool(theirs and ours) and [e.event_id for e in theirs] != [e.event_id for e in ours]


async def bus_lag(store: EventStore, position: BusPosition, head: Head) -> int:
    """Return how far the bus is behind the log; below 0 when it is ahead of it.

    The log's end is read after the bus's, and in the same epoch: what was appended and published
    since ``head`` was read does not make the bus look ahead.
    """
    while True:
        published = await position(head)
        now = await store.head()
        if now.epoch == head.epoch:
            return now.position - published
        head = now


async def _probe(part: str, question: Awaitable[T], reasons: list[str]) -> T | None:
    try:
        async with asyncio.timeout(PROBE_SEC):
            return await question
    except Exception as error:  # noqa: BLE001 - whatever it is, this part is not ready
        reasons.append(f"{part}: {type(error).__name__}")
        return None


async def metrics(request: web.Request) -> web.Response:
    """Answer Prometheus's text format, to this machine or to a token with ``system:read``."""
    if not _loopback(request):
        await authenticate(request)
        if not access.within_ceiling(request[PRINCIPAL], Permission.SYSTEM_READ):
            raise Forbidden(Permission.SYSTEM_READ)
    needs = deps(request)
    return rendered(needs.metrics, needs.wire)


def rendered(metrics: Metrics, wire: Wire) -> web.Response:
    """Return a process's metrics as they are now."""
    metrics.connected(yes=wire.up_since is not None)
    return web.Response(body=metrics.render(), headers={"Content-Type": CONTENT_TYPE})


def _loopback(request: web.Request) -> bool:
    peer = request.get_extra_info("peername")
    forwarded = "Forwarded" in request.headers or "X-Forwarded-For" in request.headers
    return bool(peer) and not forwarded and ipaddress.ip_address(peer[0]).is_loopback
