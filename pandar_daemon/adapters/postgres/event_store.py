"""The log on Postgres: the only truth, and the only way into it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from itertools import takewhile

import asyncpg

from events.envelope import Recorded
from pandar_daemon.adapters.postgres.lane import Lane, Written, fetch_receipts
from pandar_daemon.adapters.postgres.old_ranges import OldRanges
from pandar_daemon.adapters.postgres.pool import Database
from pandar_daemon.adapters.postgres.rows import COLUMNS, recorded
from pandar_daemon.adapters.postgres.writer import Writer
from pandar_daemon.ports import Append, Clock, Head, LogDamaged, Receipt, Verdict
from pandar_daemon.ports.archive import Archive

_OF_EVENTS = ", ".join(f"e.{name.strip()}" for name in COLUMNS.split(","))
_STREAM = f"SELECT {COLUMNS}, stream_version, first_position FROM read_stream($1, $2, $3, $4)"  # noqa: S608 - own columns
_KEPT = """
SELECT coalesce(max(a.last_position), 0) AS archived_to,
    (SELECT min(version) FROM events WHERE stream = $1) AS version
FROM archives a
"""
_ALL = f"""
SELECT {_OF_EVENTS}, a.archived_to
FROM (SELECT coalesce(max(last_position), 0) AS archived_to FROM archives) a
LEFT JOIN events e ON e.position > $1 AND e.position <= $1 + $2
ORDER BY e.position
"""  # noqa: S608 - own columns


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
        archive: Archive | None = None,
    ) -> None:
        """Read through ``pool``, write through connections of its own to ``url``.

        What of the log was archived is read from ``archive``.
        """
        self._pool = pool
        self._old = OldRanges(pool, archive)
        lane = partial(Lane, url, clock, committed=committed, written=written)
        self._writer = Writer(lane, clock)
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
        events = [recorded(row) for row in rows if row["position"] is not None]
        wanted = after_version + 1
        if rows and rows[0]["stream_version"] >= wanted and _begins(events) != wanted:
            old = await self._old_of(stream, rows[0], after_version, position)
            events = [event for event in old if time is None or event.recorded_at <= time] + events
        # A clock that was set back may leave a hole: what lies behind it came later.
        numbered = enumerate(events, wanted)
        return [event for _, event in takewhile(lambda one: one[1].version == one[0], numbered)]

    async def _old_of(
        self, stream: str, row: asyncpg.Record, after_version: int, up_to: int | None
    ) -> list[Recorded]:
        """Return what of a stream is in files; what the table has of it follows without gap."""
        kept = await self._pool.fetchrow(_KEPT, stream)
        assert kept is not None  # noqa: S101 - an aggregate has one row
        archived_to = kept["archived_to"]
        if archived_to < row["first_position"]:
            return []
        return await self._old.read_stream(
            stream,
            first=row["first_position"],
            up_to=archived_to if up_to is None else min(up_to, archived_to),
            after_version=after_version,
            before_version=kept["version"] or row["stream_version"] + 1,
        )

    async def read_all(self, *, after: int, limit: int) -> list[Recorded]:
        """Return at most ``limit`` events from position ``after + 1`` on, dense and in order.

        Raises `ArchiveUnreadable` for a file that is needed, `LogDamaged` where events are missing.
        """
        rows = await self._pool.fetch(_ALL, after, limit)
        archived_to = rows[0]["archived_to"]
        events = [recorded(row) for row in rows if (row["position"] or 0) > archived_to]
        if after < archived_to:
            old = await self._old.read(after=after, up_to=min(after + limit, archived_to))
            events = old + events
        if events and events[-1].position != after + len(events):
            raise _damaged(events, after)
        return events

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


def _begins(events: Sequence[Recorded]) -> int | None:
    return events[0].version if events else None


def _damaged(events: Sequence[Recorded], after: int) -> LogDamaged:
    missing = next(
        wanted for wanted, event in enumerate(events, after + 1) if event.position != wanted
    )
    return LogDamaged(
        f"position {missing} is missing in the log: restore Postgres from a backup; `pandar verify`"
        " says what else is amiss"
    )
