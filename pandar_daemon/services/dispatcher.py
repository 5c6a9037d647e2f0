"""Dispatch: gives queued tasks to the runners that claim them.

A claim waits up to ``wait_sec`` for work. Candidates come from a read model, which may lag, or are
named as they arrive; the decision is made on the task's own stream, so a stale candidate costs a
look and nothing else. A claim that is repeated under its command id gets the executions it got the
first time. Model::

    claim ──▶ given before? ──▶ candidates of the read model, best first ──▶ fill (one commit)
                  ▲                            │ none
                  │                            ▼
                  └── a second passed, ── wait ── a task arrived ──▶ gather more ──▶ fill with them
                      a key was freed
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice

import structlog

from events import running as tell
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import Clock, WorkQueue
from pandar_daemon.services.giving import Giver, Slots
from pandar_daemon.services.requests import Request

log = structlog.get_logger(__name__)

POLL_SEC = 1.0
"""A claim looks again this often, whatever it hears."""
GATHER_SEC = 0.010
"""What arrives so soon after the first is given out with it, in one commit."""
SPARE = 16
"""Candidates looked at beyond what is asked for: a read model shows late that some are taken."""
WIDER = 8
"""All of them taken, so many times more are looked at."""
CANDIDATES_MAX = 10_000
JUST_SEC = 0.5
"""So long a task given here is not tried again: a read model may show it as queued still."""
UNSEEN_SEC = 2.0
"""So long what arrived is remembered until it is tried: a read model may not show it yet."""


class _Recent:
    """Tasks of the last ``seconds``, oldest first; of more than `CANDIDATES_MAX`, the youngest."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._since: dict[int, float] = {}

    def add(self, task_id: int) -> None:
        """Remember it from now on."""
        self._since.pop(task_id, None)
        self._since[task_id] = self._clock.boottime()
        self._forget()

    def oldest(self, count: int = CANDIDATES_MAX) -> list[int]:
        """Return the first of who is remembered still."""
        self._forget()
        return list(islice(self._since, count))

    def _forget(self) -> None:
        oldest, since = self._clock.boottime() - self._seconds, self._since
        while since and (len(since) > CANDIDATES_MAX or since[next(iter(since))] < oldest):
            del since[next(iter(since))]

    def discard(self, task_ids: Iterable[int]) -> None:
        """Forget these, if they are remembered."""
        for task_id in task_ids:
            self._since.pop(task_id, None)


class Dispatcher:
    """Answers claims."""

    def __init__(
        self, *, giver: Giver, queue: WorkQueue, clock: Clock, lease_ttl_sec: float
    ) -> None:
        """Pick from ``queue`` and what arrives; let ``giver`` start it."""
        self._giver = giver
        self._queue = queue
        self._clock = clock
        self._ttl = lease_ttl_sec
        self._changed = asyncio.Event()  # set once, then replaced: wakes all who wait for it
        self._freed = 0  # how often something changed that only the read model can name
        self._arrived = _Recent(clock, UNSEEN_SEC)
        self._given = _Recent(clock, JUST_SEC)
        self._open = True
        self._one_at_a_time = asyncio.Lock()

    async def run(self) -> None:
        """Let claims wait until cancelled; from then on they are answered at once."""
        self._open = True
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._open = False
            self.work_arrived()

    def work_arrived(self, task_id: int | None = None) -> None:
        """Let waiting claims look at one task, or at everything there is."""
        if task_id is None:
            self._freed += 1
        else:
            self._arrived.add(task_id)
        self._changed.set()
        self._changed = asyncio.Event()

    async def claim(self, request: Request, claim: tell.Claim) -> tell.Assignments:
        """Return up to ``claim.slots`` new executions, waiting at most ``claim.wait_sec`` for one.

        Raises `Unavailable` when the log is away, `CommandIdReused` for the id of another claim.
        """
        deadline = self._clock.boottime() + claim.wait_sec
        try:
            items = await self._until_given(request, claim.slots, deadline)
        except ConnectionError as error:
            log.warning("claim.unanswered", runner=request.runner, error=str(error))
            raise Unavailable("the database is away; repeat the claim as it was") from error
        return tell.Assignments(ttl_sec=self._ttl, items=items)

    async def _until_given(
        self, request: Request, slots: int, deadline: float
    ) -> list[tell.Assignment]:
        async with self._one_at_a_time:
            before = await self._giver.before(request, slots)
        if before is not None:
            return before
        freed = -1
        while True:
            changed = self._changed  # before looking: what comes meanwhile is not missed
            everything, freed = freed != self._freed, self._freed
            items = await self._look(request, slots, everything=everything)
            left = deadline - self._clock.boottime()
            if items is not None or (everything and (left <= 0 or not self._open)):
                return items or []
            if not await self._arrival(changed, min(left, POLL_SEC)):
                freed = -1

    async def _arrival(self, changed: asyncio.Event, seconds: float) -> bool:
        """Wait for work, and a moment for more; false when there was none for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await changed.wait()
                await asyncio.sleep(GATHER_SEC)
        return changed.is_set()

    async def _look(
        self, request: Request, slots: int, *, everything: bool
    ) -> list[tell.Assignment] | None:
        """Return what the claim gets, or got meanwhile; ``None`` for nothing yet."""
        async with self._one_at_a_time:
            filled = Slots.of(request, slots)
            try:
                await self._fill(filled, everything=everything)
            finally:
                for item in filled.given:
                    self._given.add(item.task_id)
            if filled.answered:
                return await self._giver.before(request, slots)
            return filled.given or None

    async def _fill(self, slots: Slots, *, everything: bool) -> None:
        if everything:
            await self._fill_from_queue(slots)
        else:
            await self._fill_from_arrivals(slots)

    async def _fill_from_arrivals(self, slots: Slots) -> None:
        while not slots.answered and (chosen := self._arrived.oldest(len(slots.free))):
            self._arrived.discard(chosen)
            await self._giver.fill(slots, chosen)

    async def _fill_from_queue(self, slots: Slots) -> None:
        """Give the best candidates, more if none of those can begin, then what just arrived."""
        tried = set(self._given.oldest())
        limit, found = len(slots.free) + SPARE, list[int]()
        while not slots.given and limit <= CANDIDATES_MAX:
            found = await self._queue.candidates(limit=limit)
            await self._giver.fill(slots, [each for each in found if each not in tried])
            tried.update(found)
            limit = limit * WIDER if len(found) == limit else CANDIDATES_MAX + 1
        self._arrived.discard(tried)
        await self._fill_from_arrivals(slots)
