"""How many requests one may make a minute: by user with a valid token, else by address.

So people behind one address do not use up each other's, and nobody is kept out by another one's
bad tokens. Probes are not counted, and a stream counts once, when it is opened.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from pandar_daemon.adapters.http.deps import Deps
from pandar_daemon.adapters.http.guesses import address_of
from pandar_daemon.domain.access import Principal, Role
from pandar_daemon.domain.limiting import Buckets
from pandar_daemon.domain.refusals import TooMany

_OURS: Final = frozenset({Role.SYSTEM, Role.RUNNER})


class Counters:
    """What was asked of late, by whom."""

    def __init__(self, needs: Deps) -> None:
        """Count by the clock and the limits there are."""
        limits = needs.limits
        self._clock = needs.clock
        self._requests = Buckets(limits.requests_per_minute), limits.requests_per_minute
        self._failures = Buckets(limits.failures_per_minute), limits.failures_per_minute

    def user(self, principal: Principal) -> None:
        """Count a request of somebody known; raises `TooMany`. Our own services are not counted."""
        if _OURS.isdisjoint(principal.roles):
            self._count(self._requests, f"user {principal.user}", "requests of one user")

    def address(self, request: web.Request) -> None:
        """Count a request of somebody unknown; raises `TooMany`."""
        self._count(self._requests, f"from {address_of(request)}", "requests from one address")

    def failure(self, request: web.Request) -> None:
        """Count a token that is no good; raises `TooMany`."""
        self._count(self._failures, address_of(request), "bad tokens from one address")

    def _count(self, counted: tuple[Buckets, int], key: str, what: str) -> None:
        buckets, per_minute = counted
        wait_sec = buckets.take(key, self._clock.boottime())
        if wait_sec:
            raise TooMany(what, per_minute, wait_sec)


COUNTERS: Final = web.AppKey("COUNTERS", Counters)
