"""The log on Postgres: the only truth, and the only way into it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import takewhile

from events.envelope import Recorded
from pandar_daemon.adapters.postgres.pool import Database
from pandar_daemon.adapters.postgres.rows import COLUMNS, recorded
from pandar_daemon.adapters.postgres.writer import Writer, Written, fetch_receipts
from pandar_daemon.ports import Append, Clock, Head, Receipt, Verdict

_STREAM = (
    f"SELECT {COLUMNS} FROM events WHERE stream = $1 AND version > $2"  # noqa: S608 - own columns
    " AND ($3::bigint IS NULL OR position <= $3) AND ($4::timestamptz IS NULL OR recorded_at <= $4)"
    " ORDER BY version"
)
_ALL = (
    f"SELECT {COLUMNS} FROM events WHERE position > $1"  # noqa: S608 - own columns
    " AND position <= $1 + $2 ORDER BY position"
)


class PgEventStore:
    """`EventStore` over asyncpg; `run` must be running for `append` to return."""

    def __init__(
        self,
        url: str,
        pool: Database,
        clock: Clock,
        *,
        committed: Callable[[int], None] = lambda _position: None,
        written: Written = lambda _count, _seconds: None,
    ) -> None:
        """Read through ``pool``, write through a connection of its own to ``url``."""
        self._pool = pool
        self._writer = Writer(url, clock, committed=committed, written=written)
        self.run = self._writer.run

    async def append(self, item: Append) -> Verdict:
        """Append durably, all or nothing; see `EventStore.append`."""
        return await self._writer.append(item)

    async def read_stream(
        self, stream: str, *, after_version: int = 0, up_to: int | datetime | None = None
    ) -> list[Recorded]:
        """Return a stream's events in order, ``up_to`` a position or a time, inclusive."""
        position = up_to if isinstance(up_to, int) else None
        time = up_to if isinstance(up_to, datetime) else None
        rows = await self._pool.fetch(_STREAM, stream, after_version, position, time)
        events = [recorded(row) for row in rows]
        # A clock that was set back may leave a hole: what lies behind it came later.
        numbered = enumerate(events, after_version + 1)
        return [event for _, event in takewhile(lambda one: one[1].version == one[0], numbered)]

    async def read_all(self, *, after: int, limit: int) -> list[Recorded]:
        """Return at most ``limit`` events from position ``after + 1`` on, dense and in order."""
        return [recorded(row) for row in await self._pool.fetch(_ALL, after, limit)]

    async def receipts(self, command_ids: Sequence[str]) -> list[Receipt]:
        """Return what is kept of those commands that were ever stored, in their order."""
        return await fetch_receipts(self._pool, command_ids)

    async def head(self) -> Head:
        """Return the end of the log."""
        row = await self._pool.fetchrow("SELECT position, epoch FROM log_head")
        if row is None:
            msg = "log_head is empty: restore the database from a backup"
            raise RuntimeError(msg)
        return Head(row["position"], row["epoch"])
