"""Retention: what tasks left on disk goes when they have long been over, or take too much.

Which tasks are over the daemon says, by its log; a task it does not know keeps what it has. What
goes is first moved out of the way, at once and only while no execution of that task is in hand:
one that is retried in that moment begins afresh. Then it is removed at leisure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

import structlog

from events.running import Ending
from pandar_daemon.domain.keeping import Keeping, excess, overdue
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.ports import Clock, Folders
from pandar_daemon.telemetry import Metrics

log = structlog.get_logger(__name__)

EVERY_SEC: Final = 3_600.0
RETRY_SEC: Final = 60.0
ASKED_MAX: Final = 100
"""Tasks asked about at once."""
CLEARED_MAX: Final = 5_000
"""Entries removed at once: shutting down waits for no more."""
ROUNDS_MAX: Final = 2_000
"""Times that many, until the next round: somebody may fill what is being removed."""

Ask = Callable[[Sequence[int]], Awaitable[dict[int, Ending]]]


class Retention:
    """Tidies up one data directory."""

    def __init__(
        self,
        *,
        folders: Folders,
        terms: Keeping,
        ask: Ask,
        in_hand: Callable[[], Collection[int]],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """``ask`` which tasks are over; those ``in_hand`` are not, whatever anybody says."""
        self._folders = folders
        self._terms = terms
        self._ask = ask
        self._in_hand = in_hand
        self._clock = clock
        self._metrics = metrics

    async def run(self) -> None:
        """Tidy up every hour until cancelled, sooner again when it could not be done."""
        while True:
            try:
                await self.tidy()
                pause = EVERY_SEC
            except (OSError, Refusal) as error:
                log.warning("retention.undone", error=str(error))
                pause = RETRY_SEC
            await asyncio.sleep(pause)

    async def tidy(self) -> list[int]:
        """Remove what is due, and return of which tasks.

        Raises ``OSError``, or the `Refusal` of the daemon: then what goes is the next round's.
        """
        ended = await self._ended(await asyncio.to_thread(self._folders.tasks))
        going = await self._discard(overdue(ended, self._terms, self._clock.now()))
        if self._terms.max_disk_mb is not None:
            used = await self._measure()
            going += await self._discard(excess(ended, used, self._terms))
        await self._clear()
        return going

    async def _ended(self, task_ids: Sequence[int]) -> dict[int, Ending]:
        ended = {}
        for start in range(0, len(task_ids), ASKED_MAX):
            ended.update(await self._ask(task_ids[start : start + ASKED_MAX]))
        return ended

    async def _measure(self) -> dict[int, int]:
        tasks = await asyncio.to_thread(self._folders.tasks)
        return {each: await asyncio.to_thread(self._folders.used, each) for each in tasks}

    async def _discard(self, task_ids: Sequence[int]) -> list[int]:
        going = list[int]()
        for start in range(0, len(task_ids), ASKED_MAX):
            going += self._move(task_ids[start : start + ASKED_MAX])
            await asyncio.sleep(0)
        return going

    def _move(self, task_ids: Sequence[int]) -> list[int]:
        """Move folders away: on the loop, so that nobody begins in them meanwhile."""
        going = [each for each in task_ids if each not in self._in_hand()]
        for left in self._folders.discard(going) if going else ():
            log.warning("retention.left", what=left)
        if going:
            log.info("retention.discarded", tasks=going)
        return going

    async def _clear(self) -> None:
        since = self._terms.since(self._clock.now())
        for _ in range(ROUNDS_MAX):
            cleared = await asyncio.to_thread(
                self._folders.clear, unused_since=since, limit=CLEARED_MAX
            )
            self._metrics.cleared(cleared.removed)
            if not cleared.more:
                for left in cleared.left:
                    log.warning("retention.left", what=left)
                return
