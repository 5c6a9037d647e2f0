"""One connection over which batches are appended, one after the other, each a single statement.

A lost connection leaves the outcome of a batch open, so the same batch is sent again: what was
stored the first time answers ``replayed``, and the stored event's id being ours tells that it is
the success we did not hear of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from uuid import UUID

import asyncpg

from pandar_daemon.adapters.postgres.append_statement import Statement, statement, verdict_of
from pandar_daemon.adapters.postgres.outages import BUSY
from pandar_daemon.adapters.postgres.pool import ANSWER_SEC, Database, connect
from pandar_daemon.ports import Append, Appended, Clock, Receipt, Replayed, Verdict

RETRY_SEC = 10.0
"""How long a lost connection is retried before the askers are told the outcome is unknown."""

AGAIN = (*BUSY, asyncpg.CheckViolationError)
"""The same may work later. No constraint checks what is appended: it is refused like this where
another process made a partition and committed, but has yet to tell our session of it."""

_RECEIPTS = """
SELECT command_id, request_sha256, stream, position, version, answer
FROM commands WHERE command_id = ANY ($1)
"""
_LAST_EVENT = "SELECT event_id FROM events WHERE position = $1 AND command_id = $2"

Written = Callable[[int, float], None]


class Lane:
    """Appends over one connection, made when it is first needed and whenever it was lost."""

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
        self._connection: asyncpg.Connection | None = None

    async def append(self, items: Sequence[Append]) -> list[Verdict]:
        """Append items in one transaction and return what became of each.

        Raises one of `AGAIN` when the outcome is unknown, and else what the database has against
        one of the items: then none is stored.
        """
        ids = [self._clock.new_id() for item in items for _ in item.events]
        append = statement(items, ids)
        deadline = self._clock.boottime() + RETRY_SEC
        pause = 0.05
        while True:
            try:
                return await self._send(items, append)
            except AGAIN:
                self.drop()
                if self._clock.boottime() + pause > deadline:
                    raise
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)

    def drop(self) -> None:
        """Let go of the connection, in whatever state it is."""
        if self._connection is not None:
            with suppress(Exception):
                self._connection.terminate()
            self._connection = None

    async def _send(self, items: Sequence[Append], append: Statement) -> list[Verdict]:
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


async def fetch_receipts(
    connection: asyncpg.Connection | Database, command_ids: Sequence[str]
) -> list[Receipt]:
    """Return what is kept of those commands that were ever stored, in their order."""
    rows = await connection.fetch(_RECEIPTS, command_ids)
    found = {row["command_id"]: Receipt(**dict(row)) for row in rows}
    return [found[each] for each in command_ids if each in found]
