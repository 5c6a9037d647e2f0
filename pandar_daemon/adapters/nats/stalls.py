"""What is sent to a stream and not stored, though the server answers.

A nats-server whose disk was full answers every ping and every question, and acknowledges nothing
on the streams it failed to write, until it is started again: space alone does not help. Nothing
else tells it from a slow one than how long it lasts.
"""

from __future__ import annotations

import structlog

from pandar_daemon.ports import Clock

log = structlog.get_logger(__name__)

STUCK_SEC = 15.0
"""Three unanswered messages in a row: by then it is not merely slow."""
HINT = "nats-server stores nothing: free its disk, then restart it (an embedded one restarts)"
_KIND = 3
"""So many tokens of a subject tell its stream: ``pandar.v1.evt``."""


class Stalls:
    """The subjects whose messages are not acknowledged now, and since when."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}
        self._told: set[str] = set()

    @property
    def longest_sec(self) -> float:
        """Return for how long the worst of them has stored nothing, 0 when all do."""
        if not self._since:
            return 0.0
        return self._clock.boottime() - min(self._since.values())

    def missed(self, subject: str) -> None:
        """Take note of a message that a server which was there all the time did not acknowledge."""
        kind = _kind(subject)
        since = self._since.setdefault(kind, self._clock.boottime())
        if kind not in self._told and self._clock.boottime() - since >= STUCK_SEC:
            self._told.add(kind)
            log.error("bus.stores_nothing", subject=f"{kind}.>", hint=HINT)

    def stored(self, subject: str) -> None:
        """Take note of one that was acknowledged."""
        if self._since:
            kind = _kind(subject)
            self._since.pop(kind, None)
            self._told.discard(kind)

    def forget(self) -> None:
        """Begin anew: the server was started again."""
        self._since.clear()
        self._told.clear()


def _kind(subject: str) -> str:
    return ".".join(subject.split(".", _KIND)[:_KIND])
