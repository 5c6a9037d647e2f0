"""The servers of one cluster, and what to do about one that is apart from the others.

A member that hears no other still takes connections, answers every probe, and carries messages to
those who are connected to it too. But what it is told to store it cannot, and whoever is connected
elsewhere is not there for us. It says so itself when it has known of no leader for some seconds
(error 10008). Then we go to another member; should that say the same, as when too few are left,
we come to the next ever later, because going costs what is asked just then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from urllib.parse import ParseResult, SplitResult, urlsplit

import msgspec
import structlog

from pandar_daemon.adapters.nats.jetstream_api import API, NOT_AVAILABLE, ApiVerdict
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import Clock

log = structlog.get_logger(__name__)

LOOK_SEC: Final = 5.0
"""Between two looks at whether a member knows of a leader."""
STAY_SEC: Final = 10.0
"""So long we stay with a member at least; twice as long after each that was no better."""
STAY_MAX_SEC: Final = 600.0
SUBJECT: Final = f"{API}.INFO"


class Members:
    """The URLs of a cluster's members; with one alone nothing is ever looked at."""

    def __init__(self, urls: Sequence[str], clock: Clock) -> None:
        self._urls = list(urls)
        self._clock = clock
        self._at = self._left = ""
        self._stay_sec = STAY_SEC
        self._look_at = self._leave_at = 0.0

    def to_try(self) -> list[str]:
        """Return the members that may take us in: not the one we left, this once."""
        others = [url for url in self._urls if address_of(urlsplit(url)) != self._left]
        self._left = ""
        return others or self._urls

    def joined(self, address: str) -> None:
        """Take note that the one at an address, as host and port, took us in."""
        self._at = address
        now = self._clock.boottime()
        self._look_at, self._leave_at = now + LOOK_SEC, now + self._stay_sec

    async def is_apart(self, ask: Callable[[], Awaitable[bytes]]) -> bool:
        """Tell whether to leave the member that took us in.

        ``ask`` returns what it answers at `SUBJECT`, and raises `Unavailable`.
        """
        now = self._clock.boottime()
        if len(self._urls) == 1 or now < self._look_at:
            return False
        self._look_at = now + LOOK_SEC
        try:
            said = msgspec.json.decode(await ask(), type=ApiVerdict)
        except (Unavailable, msgspec.MsgspecError):  # it may be slow, or we may not ask that
            return False
        if said.error is None or said.error.err_code != NOT_AVAILABLE:
            self._stay_sec = STAY_SEC
            return False
        if now < self._leave_at:
            return False
        log.warning("bus.apart", server=self._at)
        self._left, self._stay_sec = self._at, min(self._stay_sec * 2, STAY_MAX_SEC)
        return True


def address_of(url: SplitResult | ParseResult) -> str:
    """Return host and port of a URL."""
    return url.netloc.rpartition("@")[2]
