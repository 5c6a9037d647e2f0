"""The way out of an execution's box: whom it may call, and what is recorded of who may not be."""

from __future__ import annotations

import asyncio
from typing import Final

from events.commands import REASON_MAX
from events.running import Assignment, ReportBlocked
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.ports import Blocked, Launch, Outward
from pandar_daemon.services.line import Line

TOLD_MAX: Final = 100
"""Attempts of one execution that are recorded one by one."""
HOST_MAX: Final = 255


def outward_of(assignment: Assignment, launch: Launch | None) -> Outward:
    """Return whom an execution may call: as its confines say, and what its agent cannot be without.

    ``launch`` is its agent's, made for a box.
    """
    confines = assignment.confines
    needed = () if launch is None else launch.hosts
    return Outward(
        hosts=(*needed, *confines.hosts),
        private_hosts=tuple(confines.private_hosts),
        rules=assignment.rules,
        models={} if launch is None else launch.models,
    )


class Attempts:
    """One execution's attempts to reach whom it may not; `tell` is for `Egress.serving`."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._told = 0
        self._omitted = 0
        self._last: Blocked | None = None
        self._one = asyncio.Lock()

    async def tell(self, attempt: Blocked) -> None:
        """Record an attempt; of those beyond `TOLD_MAX` only how many there were, in `close`."""
        if self._told >= TOLD_MAX:
            self._omitted, self._last = self._omitted + 1, attempt
            return
        self._told += 1
        await self._record(attempt, 0)

    async def close(self) -> None:
        """Record how many were not told; silent when that is over."""
        if self._last is not None:
            await self._record(self._last, self._omitted)
            self._last = None

    async def _record(self, attempt: Blocked, omitted: int) -> None:
        held = self._line.held
        report = ReportBlocked(
            task_id=held.task_id,
            execution_id=held.execution_id,
            epoch=held.epoch,
            host=attempt.host[:HOST_MAX],
            port=attempt.port,
            reason=attempt.reason[:REASON_MAX],
            omitted=omitted,
        )
        async with self._one:  # in the order of the attempts
            try:
                await self._line.insist("blocked", report)
            except Refusal:
                return  # the execution is over: nobody wants to know
