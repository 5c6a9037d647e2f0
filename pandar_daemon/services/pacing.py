"""How many commands one user may send a minute, through this process."""

from __future__ import annotations

from typing import Final

from pandar_daemon.domain.access import Role
from pandar_daemon.domain.limiting import Buckets
from pandar_daemon.domain.refusals import TooMany, Unavailable
from pandar_daemon.ports import Clock
from pandar_daemon.services.requests import Request

_OURS: Final = frozenset({Role.SYSTEM, Role.RUNNER})
"""Whom nobody counts: one event may make Pandar's own services send hundreds of commands."""


class Pacing:
    """Counts commands by user."""

    def __init__(self, clock: Clock, per_minute: int) -> None:
        """Let each user send so many a minute, all at once if they like."""
        self._clock = clock
        self._per_minute = per_minute
        self._buckets = Buckets(per_minute)

    def check(self, request: Request, *, queued: bool) -> None:
        """Count a command; raises `TooMany`.

        A ``queued`` one, for whose answer nobody waits, raises `Unavailable`: it comes again.
        """
        if not _OURS.isdisjoint(request.principal.roles):
            return
        wait_sec = self._buckets.take(request.principal.user, self._clock.boottime())
        if wait_sec and queued:
            raise Unavailable("one user's commands come too fast; this one waits in the queue")
        if wait_sec:
            raise TooMany("commands of one user", self._per_minute, wait_sec)
