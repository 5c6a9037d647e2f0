"""Group commit: many appends, one transaction.

One writer a process. It takes whatever queued while the last commit was flushing (at most
`BATCH_MAX`) and appends it as a single autocommit statement, so a frozen client can never hold the
head of the log; `company` says when. Model::

    append() ──▶ queue ──pace, take──▶ batch ──a lane's statement──▶ verdicts ──▶ futures
                   ▲              │ two items that touch the same stream, command id,
                   └──put back────┘ key or lease are never under way together

When much waits there are two batches under way, on connections of their own: the database appends
one after the other, and is not idle while the answers to the first are told here.

Failures. A statement the database refuses (one item holds a value it cannot store) is cut in half
until the bad item stands alone: it fails by itself. See `lane` for a lost connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from itertools import chain

import structlog
from msgspec import Struct

from pandar_daemon.adapters.postgres.company import Company
from pandar_daemon.adapters.postgres.lane import AGAIN, Lane
from pandar_daemon.ports import Append, AppendFailed, Clock, Verdict

log = structlog.get_logger(__name__)

BATCH_MAX = 500
LANES = 2
SHARE_MIN = 16
"""A second batch begins beside another when so many wait: fewer are not worth a commit more."""
QUEUE_MAX = 10_000
"""More than this waiting is a ``ConnectionError`` at once: the database does not keep up."""


class _Waiting(Struct, frozen=True, eq=False):
    item: Append
    done: asyncio.Future[Verdict]


_Batch = list[_Waiting]


class Writer:
    """Appends for one process; `run` must be running for `append` to return."""

    def __init__(
        self, lane: Callable[[], Lane], clock: Clock, *, share_min: int = SHARE_MIN
    ) -> None:
        """Append over lanes newly made, two when ``share_min`` items wait for another's end."""
        self._lane = lane
        self._share_min = share_min
        self._queue: deque[_Waiting] = deque()
        self._company = Company(clock, self._queue)
        self._turn = asyncio.Lock()
        self._due = asyncio.Event()
        self._freed = asyncio.Event()
        self._under_way: list[_Batch] = []

    async def append(self, item: Append) -> Verdict:
        """Queue an item and return what became of it; see `EventStore.append`."""
        if len(self._queue) >= QUEUE_MAX:
            msg = f"{QUEUE_MAX} appends are waiting already"
            raise ConnectionError(msg)
        waiting = _Waiting(item, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._look()
        self._company.came()
        return await waiting.done

    async def run(self) -> None:
        """Append until cancelled; then fail what still waits with ``ConnectionError``."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(LANES):
                    group.create_task(self._serve(self._lane()))
        finally:
            _stop(self._queue)
            self._queue.clear()

    async def _serve(self, lane: Lane) -> None:
        batch: _Batch = []
        try:
            while True:
                async with self._turn:
                    batch = await self._next()
                    self._under_way.append(batch)
                try:
                    await self._write(lane, batch)
                finally:
                    self._under_way.remove(batch)
                self._freed.set()
                self._look()
        finally:
            _stop(batch)
            lane.drop()

    def _look(self) -> None:
        """Take note if a batch may begin."""
        if self._is_due():
            self._due.set()

    def _is_due(self) -> bool:
        return bool(self._queue) and (not self._under_way or len(self._queue) >= self._share_min)

    async def _next(self) -> _Batch:
        """Return what to append, when it is time to."""
        while True:
            while not self._is_due():
                self._due.clear()
                await self._due.wait()
            await self._company.gathered()
            if batch := self._take():
                return batch
            if self._under_way:
                self._freed.clear()
                await self._freed.wait()

    def _take(self) -> _Batch:
        batch: _Batch = []
        later: _Batch = []
        most = self._share()
        under_way = chain.from_iterable(self._under_way)
        touched = {each for waiting in under_way for each in _touches(waiting.item)}
        while self._queue and len(batch) < most:
            waiting = self._queue.popleft()
            touches = _touches(waiting.item)
            if waiting.done.cancelled():
                continue
            if touched.isdisjoint(touches):
                batch.append(waiting)
            else:
                later.append(waiting)
            touched |= touches
        self._queue.extendleft(reversed(later))
        return batch

    def _share(self) -> int:
        """Return how many to take: half if the other half may begin beside it."""
        waits = len(self._queue)
        shared = not self._under_way and waits >= 2 * self._share_min
        return min(BATCH_MAX, waits // 2 if shared else waits)

    async def _write(self, lane: Lane, batch: _Batch) -> None:
        try:
            verdicts = await lane.append([waiting.item for waiting in batch])
        except AGAIN as error:
            log.warning("log.append_unknown", items=len(batch), error=type(error).__name__)
            for waiting in batch:
                _fail(waiting, ConnectionError("the database is away; the outcome is unknown"))
        except Exception as error:  # noqa: BLE001 - whatever one item causes must fail it alone
            await self._halve(lane, batch, error)
        else:
            for waiting, verdict in zip(batch, verdicts, strict=True):
                if not waiting.done.done():
                    waiting.done.set_result(verdict)

    async def _halve(self, lane: Lane, batch: _Batch, error: Exception) -> None:
        if len(batch) > 1:
            middle = len(batch) // 2
            await self._write(lane, batch[:middle])
            await self._write(lane, batch[middle:])
            return
        item = batch[0].item
        log.error("log.append_refused", stream=item.stream, error=type(error).__name__)
        _fail(batch[0], AppendFailed(f"{item.stream}: {type(error).__name__}"))


def _stop(left: Iterable[_Waiting]) -> None:
    for waiting in left:
        _fail(waiting, ConnectionError("the writer was stopped; the outcome is unknown"))


def _fail(waiting: _Waiting, error: Exception) -> None:
    if not waiting.done.done():
        waiting.done.set_exception(error)


def _touches(item: Append) -> set[object]:
    touched: set[object] = {("stream", item.stream), ("command", item.command_id)}
    touched.update(item.reserve)
    touched.update(item.release)
    if item.lease is not None:
        touched.add(("lease", item.lease.task_id))
    return touched
