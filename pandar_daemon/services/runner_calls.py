"""What a runner asks the daemon: for executions, for its leases to go on, and which tasks are over.

What a renewal buys is counted from *before* it was sent, and only three quarters of the lease: when
the daemon believes it expired, nothing of it has run here for long. A claim buys nothing: of a
lease that was never renewed the daemon believes that nothing was begun, and gives it to others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

import msgspec
import structlog
from msgspec import Struct

from events import subjects
from events.running import (
    Assignment,
    Assignments,
    Claim,
    Ending,
    Endings,
    Held,
    LeaseState,
    ListEnded,
    Renew,
    Renewed,
)
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.ports import Clock
from pandar_daemon.services.asking import Asker
from pandar_daemon.services.pauses import pauses

log = structlog.get_logger(__name__)

CLAIM_WAIT_SEC: Final = 5.0
ENDED_SEC: Final = 30.0
LATE_SEC: Final = 2.0
"""What the answer to a claim may take beyond its wait."""
TRUST: Final = 0.75
"""The part of a lease we trust; the rest is for clocks, networks and the freezing itself."""


class Kept(Struct, frozen=True, kw_only=True):
    """What became of leases; those that are held may run ``until`` then."""

    states: Mapping[UUID, LeaseState]
    until: float


class RunnerCalls:
    """The calls of one runner; set ``runner_id`` first."""

    def __init__(self, asker: Asker, clock: Clock, *, ttl_sec: float) -> None:
        """Take ``ttl_sec`` for granted only until the daemon says otherwise."""
        self.runner_id = ""
        self.ttl_sec = ttl_sec
        self._asker = asker
        self._clock = clock

    @property
    def renew_every_sec(self) -> float:
        """How long after one renewal the next is due."""
        return self.ttl_sec / 4

    async def claim(self, claim: Claim) -> Sequence[Assignment]:
        """Return what a claim was given, however often it must be asked.

        Nobody else gets what it may have been given: it is repeated under its command id.
        """
        answer = await self._insist(msgspec.json.encode(claim), claim.wait_sec + LATE_SEC)
        self.ttl_sec = answer.ttl_sec
        return answer.items

    async def _insist(self, body: bytes, timeout_sec: float) -> Assignments:
        command_id = str(self._clock.new_id())
        for pause in pauses():
            try:
                answer = await self._ask("claim", body, command_id, timeout_sec)
                return msgspec.json.decode(answer, type=Assignments)
            except Refusal as refusal:
                log.warning("runner.waiting", reason=str(refusal), pause_sec=pause)
                if not refusal.is_fault:  # that claim gave nothing
                    command_id = str(self._clock.new_id())
            await asyncio.sleep(pause)
        raise AssertionError("pauses are endless")

    async def renew(self, leases: Sequence[Held]) -> Kept:
        """Return what became of leases; raises the daemon's `Refusal`."""
        sent_at = self._clock.boottime()
        body = msgspec.json.encode(Renew(leases=list(leases)))
        answer = await self._ask("renew", body, str(self._clock.new_id()), self.renew_every_sec)
        renewed = msgspec.json.decode(answer, type=Renewed)
        self.ttl_sec = renewed.ttl_sec
        lost = {lease.execution_id: LeaseState.LOST for lease in leases}
        return Kept(states=lost | renewed.leases, until=sent_at + renewed.ttl_sec * TRUST)

    async def ended(self, task_ids: Sequence[int]) -> dict[int, Ending]:
        """Return which of these tasks are over; raises the daemon's `Refusal`."""
        body = msgspec.json.encode(ListEnded(task_ids=list(task_ids)))
        answer = await self._ask("ended", body, str(self._clock.new_id()), ENDED_SEC)
        return msgspec.json.decode(answer, type=Endings).ended

    async def _ask(self, action: str, body: bytes, command_id: str, timeout_sec: float) -> bytes:
        subject = subjects.run(action, self.runner_id)
        return await self._asker.ask(subject, body, command_id, timeout_sec=timeout_sec)
