"""The lead of a role: of all processes that could play it, one does.

The store keeps who leads and until when, by its own clock. Whoever leads renews at a third of that
time and, by a clock of this machine that counts suspended time, believes in it no longer than that:
two thirds are left for a slow answer. Still two may lead for a moment, as after a process was
frozen between looking and acting: every role is safe against that, by a fence or by command ids.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import Clock, Leadership

log = structlog.get_logger(__name__)

PATIENCE_SEC = 2.0
RENEWED_AT = 1 / 3


class Lead:
    """One holder's lead of a role, or its wish for it."""

    def __init__(self, leadership: Leadership, clock: Clock, role: str, holder: str) -> None:
        """Ask ``leadership`` for ``role`` in the name of ``holder``."""
        self._leadership = leadership
        self._clock = clock
        self._role = role
        self._waiting = f"{role}.waiting"
        self._holder = holder
        self._renew_at = float("-inf")

    async def held(self, ttl_sec: float) -> bool:
        """Take, keep or renew the lead for ``ttl_sec`` seconds; false while another has it.

        Raises ``ConnectionError`` when it is to be renewed and the store is away.
        """
        now = self._clock.boottime()
        if now < self._renew_at:
            return True
        if not await self._leadership.acquire(self._role, self._holder, ttl_sec):
            return False
        self._renew_at = now + ttl_sec * RENEWED_AT
        return True

    async def look(self, ttl_sec: float, act: Callable[[], Awaitable[bool]]) -> bool:
        """Return what ``act`` says, done as the leader; false for another's lead or an outage."""
        try:
            return await self.held(ttl_sec) and await act()
        except (Unavailable, ConnectionError) as error:
            log.warning(self._waiting, reason=str(error))
            return False

    async def run(self, look: Callable[[], Awaitable[bool]], pause_sec: float) -> None:
        """Look again and again until cancelled, with a pause after each that was false; resign.

        So the next process need not wait for the lead to expire.
        """
        try:
            while True:
                if not await look():
                    await asyncio.sleep(pause_sec)
        finally:
            await self._resign()

    async def _resign(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SEC):
                await self._leadership.resign(self._role, self._holder)
        except (TimeoutError, ConnectionError):
            log.info("lead.left_to_expire", role=self._role)
        self._renew_at = float("-inf")
