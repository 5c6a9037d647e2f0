"""What the measured Postgres did between two moments."""

from __future__ import annotations

import asyncpg
from msgspec import Struct

_NOW = """
SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS writes,
       pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS wal_bytes,
       (SELECT sum(xact_commit)::bigint FROM pg_stat_database) AS commits,
       (SELECT wal_fpi FROM pg_stat_wal) AS full_pages,
       (SELECT coalesce(sum(fsyncs), 0)::bigint FROM pg_stat_io WHERE object = 'wal') AS flushes
"""
_COMMITS = "SELECT xact_commit, numbackends FROM pg_stat_database WHERE datname = $1"


class Work(Struct, frozen=True):
    """Counters of a whole cluster.

    ``writes`` (transactions that changed something) and ``wal_bytes`` are exact. The others come
    from statistics that busy sessions pass on once a second: ``commits`` are transactions of all
    kinds, reads too, ``full_pages`` pages of 8 KiB that the WAL holds whole because a checkpoint
    went before, ``flushes`` the fsyncs of the WAL.
    """

    writes: int
    wal_bytes: int
    commits: int
    full_pages: int
    flushes: int

    def since(self, before: Work) -> Work:
        """Return what was done between two moments."""
        return Work(
            writes=self.writes - before.writes,
            wal_bytes=self.wal_bytes - before.wal_bytes,
            commits=self.commits - before.commits,
            full_pages=self.full_pages - before.full_pages,
            flushes=self.flushes - before.flushes,
        )


async def work(connection: asyncpg.Connection) -> Work:
    """Return the counters as they are now; needs a superuser's connection."""
    row = await connection.fetchrow(_NOW)
    assert row is not None  # noqa: S101 - a SELECT without FROM has one row
    return Work(**{name: int(value) for name, value in row.items()})


async def commits(connection: asyncpg.Connection, database: str) -> tuple[int, int]:
    """Return how many transactions a database committed, and how many sessions it has now.

    With no session left the count is complete.
    """
    row = await connection.fetchrow(_COMMITS, database)
    return (int(row["xact_commit"]), int(row["numbackends"])) if row else (0, 0)
