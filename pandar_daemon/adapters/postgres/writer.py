"""Group commit: many appends, one transaction.

One writer a process. It takes whatever queued while the last commit was flushing (at most
`BATCH_MAX`) and appends it as a single autocommit statement, so a frozen client can never hold the
head of the log; `company` says when. Model::

    append() ──▶ queue ──pace, take──▶ batch ──statement──▶ verdicts ──▶ futures
                   ▲              │ two items that touch the same stream, command id,
                   └──put back────┘ key or lease never share a batch

Failures. A statement the database refuses (one item holds a value it cannot store) is cut in half
until the bad item stands alone: it fails by itself. A lost connection leaves the outcome open, so
the same batch is sent again: what was stored the first time answers ``replayed``, and the stored
event's id being ours tells that it is the success we did not hear of.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from uuid import UUID

import asyncpg
import structlog
from msgspec import Struct

from pandar_daemon.adapters.postgres.append_statement import Statement, statement, verdict_of
from pandar_daemon.adapters.postgres.company import Company
from pandar_daemon.adapters.postgres.outages import BUSY
from pandar_daemon.adapters.postgres.pool import ANSWER_SEC, Database, connect
from pandar_daemon.ports import (
    Append,
    Appended,
    AppendFailed,
    Clock,
    Receipt,
    Replayed,
    Verdict,
)

log = structlog.get_logger(__name__)

BATCH_MAX = 500
QUEUE_MAX = 10_000
"""More than this waiting is a ``ConnectionError`` at once: the database does not keep up."""
RETRY_SEC = 10.0
"""How long a lost connection is retried before the askers are told the outcome is unknown."""

_AGAIN = (*BUSY, asyncpg.CheckViolationError)
"""The same may work later. No constraint checks what is appended: it is refused like this where
another process made a partition and committed, but has yet to tell our session of it."""

_RECEIPTS = """
SELECT command_id, request_sha256, stream, position, version, answer
FROM commands WHERE command_id = ANY ($1)
"""
_LAST_EVENT = "SELECT event_id FROM events WHERE position = $1 AND command_id = $2"


Written = Callable[[int, float], None]


class _Waiting(Struct, frozen=True, eq=False):
    item: Append
    done: asyncio.Future[Verdict]


class Writer:
    """Appends for one process; `run` must be running for `append` to return."""

    def __init__(
        self, url: str, clock: Clock, *, committed: Callable[[int], None], written: Written
    ) -> None:
        """Append to the database at ``url``.

        ``committed`` hears each new last position, ``written`` of each statement how many items
        it had and how many seconds it took.
        """
        self._url = url
        self._clock = clock
        self._committed = committed
        self._written = written
        self._queue: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._company = Company(clock, self._queue)
        self._connection: asyncpg.Connection | None = None

    async def append(self, item: Append) -> Verdict:
        """Queue an item and return what became of it; see `EventStore.append`."""
        if len(self._queue) >= QUEUE_MAX:
            msg = f"{QUEUE_MAX} appends are waiting already"
            raise ConnectionError(msg)
        waiting = _Waiting(item, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._wake.set()
        self._company.came()
        return await waiting.done

    async def run(self) -> None:
        """Append until cancelled; then fail what still waits with ``ConnectionError``."""
        batch: list[_Waiting] = []
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    await self._company.gathered()
                    batch = self._take()
                    await self._write(batch)
        finally:
            for waiting in (*batch, *self._queue):
                _fail(waiting, ConnectionError("the writer was stopped; the outcome is unknown"))
            self._queue.clear()
            if self._connection is not None:
                self._connection.terminate()

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        later: list[_Waiting] = []
        touched: set[object] = set()
        while self._queue and len(batch) < BATCH_MAX:
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

    async def _write(self, batch: list[_Waiting]) -> None:
        try:
            verdicts = await self._send_again(batch)
        except _AGAIN as error:
            log.warning("log.append_unknown", items=len(batch), error=type(error).__name__)
            for waiting in batch:
                _fail(waiting, ConnectionError("the database is away; the outcome is unknown"))
        except Exception as error:  # noqa: BLE001 - whatever one item causes must fail it alone
            await self._halve(batch, error)
        else:
            for waiting, verdict in zip(batch, verdicts, strict=True):
                if not waiting.done.done():
                    waiting.done.set_result(verdict)

    async def _halve(self, batch: list[_Waiting], error: Exception) -> None:
        if len(batch) > 1:
            middle = len(batch) // 2
            await self._write(batch[:middle])
            await self._write(batch[middle:])
            return
        item = batch[0].item
        log.error("log.append_refused", stream=item.stream, error=type(error).__name__)
        _fail(batch[0], AppendFailed(f"{item.stream}: {type(error).__name__}"))

    async def _send_again(self, batch: list[_Waiting]) -> list[Verdict]:
        items = [waiting.item for waiting in batch]
        ids = [self._clock.new_id() for item in items for _ in item.events]
        append = statement(items, ids)
        deadline = self._clock.boottime() + RETRY_SEC
        pause = 0.05
        while True:
            try:
                return await self._send(items, append)
            except _AGAIN:
                self._drop_connection()
                if self._clock.boottime() + pause > deadline:
                    raise
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)

    async def _send(self, items: list[Append], append: Statement) -> list[Verdict]:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._url)
        began = self._clock.boottime()
        rows = await self._connection.fetch(append.sql, *append.arguments, timeout=ANSWER_SEC)
        self._written(len(items), self._clock.boottime() - began)
        verdicts = [verdict_of(row) for row in rows]
        for n, verdict in enumerate(verdicts):
            if isinstance(verdict, Replayed):
                verdicts[n] = await self._judge_replay(items[n], append.ids)
        last = max((v.position for v in verdicts if isinstance(v, Appended)), default=0)
        if last:
            self._committed(last)
        return verdicts

    async def _judge_replay(self, item: Append, ids: Sequence[UUID]) -> Verdict:
        """Tell a command stored before from the echo of our own first try."""
        assert self._connection is not None  # noqa: S101 - just used
        (receipt,) = await fetch_receipts(self._connection, [item.command_id])
        stored = await self._connection.fetchval(_LAST_EVENT, receipt.position, item.command_id)
        if stored in ids:
            return Appended(position=receipt.position, version=receipt.version)
        return Replayed(receipt)

    def _drop_connection(self) -> None:
        if self._connection is not None:
            with suppress(Exception):
                self._connection.terminate()
            self._connection = None


async def fetch_receipts(
    connection: asyncpg.Connection | Database, command_ids: Sequence[str]
) -> list[Receipt]:
    """Return what is kept of those commands that were ever stored, in their order."""
    rows = await connection.fetch(_RECEIPTS, command_ids)
    found = {row["command_id"]: Receipt(**dict(row)) for row in rows}
    return [found[each] for each in command_ids if each in found]


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
