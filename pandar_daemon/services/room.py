"""Room on the disk: who takes more than they may is ended, and some is always left free.

The database and the bus may live on the same disk and must never find it full. Below the reserve
nothing new is begun, and what grew most ends, one at a time: the next only when the one before had
the time to go and room is still missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Protocol
from uuid import UUID

import structlog

from events.running import Held
from pandar_daemon.domain import filling
from pandar_daemon.domain.filling import Filled
from pandar_daemon.ports import Clock, Folders, Space
from pandar_daemon.telemetry import Metrics

log = structlog.get_logger(__name__)

LOOK_SEC = 0.5
"""A fast disk takes a gigabyte meanwhile: what the reserve is for."""
SETTLE_SEC = 2.0
"""So long after one was ended its room may still come back."""
MOMENT_SEC = 0.1
"""So long others may be measured before one is held to its limit."""
SLOW_SEC = 1.0
"""A tree whose measure took so long is not measured in an emergency."""


class Watched(Protocol):
    """An execution, as far as the disk goes."""

    held: Held

    @property
    def task_id(self) -> int:
        """Whose folders it fills."""
        ...

    @property
    def disk_bytes(self) -> int:
        """What they may take."""
        ...

    async def overfill(self, error: str) -> None:
        """End it."""
        ...


class Room:
    """Watches the disk under all executions of a runner."""

    def __init__(
        self,
        *,
        folders: Folders,
        watched: Callable[[], Sequence[Watched]],
        reserve_bytes: int,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """Look at ``folders`` for what is ``watched``, and keep ``reserve_bytes`` free."""
        self.is_short = False
        self._folders = folders
        self._watched = watched
        self._reserve = reserve_bytes
        self._clock = clock
        self._metrics = metrics
        self._filled: dict[UUID, Filled] = {}
        self._ended: set[UUID] = set()
        self._ended_at = float("-inf")

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except OSError as error:
                log.warning("room.unseen", error=str(error))
            await asyncio.sleep(LOOK_SEC)

    async def look(self) -> None:
        """Look once; raises ``OSError`` when the disk does not answer."""
        watched = {each.held.execution_id: each for each in self._watched()}
        self._filled = {of: filled for of, filled in self._filled.items() if of in watched}
        self._ended &= watched.keys()
        live = {of: each for of, each in watched.items() if of not in self._ended}
        space = await asyncio.to_thread(self._folders.space)
        at = self._clock.boottime()
        due = [
            of
            for of, execution in live.items()
            if filling.is_due(self._filled.get(of), execution.disk_bytes, space.free, at)
        ]
        async for of in self._measure(due, live, space):
            await self._hold_to_limit(of, live[of])
        self._tell(space)
        if self.is_short and self._clock.boottime() >= self._ended_at + SETTLE_SEC:
            await self._make_room(live, space)

    async def _measure(
        self, due: Sequence[UUID], live: Mapping[UUID, Watched], space: Space
    ) -> AsyncIterator[UUID]:
        """Measure these, as many at a time as take but a moment, and yield each."""
        while due:
            task_ids = [live[of].task_id for of in due]
            taken = await asyncio.to_thread(self._measured, task_ids)
            measured, due = due[: len(taken)], due[len(taken) :]
            for of, (used, began, at) in zip(measured, taken, strict=True):
                before = self._filled.get(of)
                self._filled[of] = Filled(
                    began=used if before is None else before.began,
                    used=used,
                    free=space.free,
                    at=at,
                    took_sec=at - began,
                )
            for of in measured:
                yield of

    def _measured(self, task_ids: Sequence[int]) -> list[tuple[int, float, float]]:
        """Return what they take and when that was measured, until `MOMENT_SEC` have passed."""
        taken = list[tuple[int, float, float]]()
        first = at = self._clock.boottime()
        for task_id in task_ids:
            began = at
            used, at = self._folders.used(task_id), self._clock.boottime()
            taken.append((used, began, at))
            if at - first >= MOMENT_SEC:
                break
        return taken

    async def _hold_to_limit(self, of: UUID, execution: Watched) -> None:
        used, limit = self._filled[of].used, execution.disk_bytes
        if used > limit:
            await self._end(of, execution, filling.over_limit(used, limit))

    def _tell(self, space: Space) -> None:
        short = space.free < self._reserve
        if short != self.is_short:
            log.warning("room.short" if short else "room.back", free=space.free)
        self.is_short = short
        self._metrics.room(free=space.free, is_short=short)

    async def _make_room(self, live: Mapping[UUID, Watched], space: Space) -> None:
        """End what grew most; what is slow to measure counts as it was measured last."""
        quick = [of for of in live if self._filled[of].took_sec < SLOW_SEC]
        async for _ in self._measure(quick, live, space):
            pass
        candidates = {of: self._filled[of] for of in live if of not in self._ended}
        worst = filling.greatest(candidates)
        if worst is not None:
            growth = candidates[worst].growth
            await self._end(worst, live[worst], filling.no_room(growth, space.free, self._reserve))

    async def _end(self, of: UUID, execution: Watched, error: str) -> None:
        log.warning("room.ended", task=execution.task_id, execution=str(of), error=error)
        self._ended.add(of)
        self._ended_at = self._clock.boottime()
        await execution.overfill(error)
