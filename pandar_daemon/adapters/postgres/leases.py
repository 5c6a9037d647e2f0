"""Leases, leadership, numbers and forensics on Postgres, all judged by the database's clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from events.running import Held, LeaseState
from pandar_daemon.adapters.postgres.pool import Database
from pandar_daemon.ports import Lease

# Locked in the order in which an append locks them: neither waits for the other in a circle.
_RENEW = """
WITH mine AS MATERIALIZED (
    SELECT leases.task_id FROM leases
    JOIN unnest($2::bigint[], $3::uuid[], $4::int[]) AS held (task_id, execution_id, epoch)
        USING (task_id, execution_id, epoch)
    WHERE leases.runner_id = $1
    ORDER BY leases.task_id FOR UPDATE OF leases
)
UPDATE leases SET expires_at = clock_timestamp() + make_interval(secs => $5), begun = true
FROM mine WHERE leases.task_id = mine.task_id
RETURNING leases.execution_id, leases.cancel
"""
_EXPIRED = """
WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS shown)
SELECT shown, task_id, execution_id, epoch, runner_id, begun
FROM clock LEFT JOIN LATERAL (
    SELECT * FROM leases WHERE expires_at < shown ORDER BY expires_at LIMIT 1000
) late ON true
"""
# Who only waits for another's lead to end writes nothing, and so commits nothing.
_LEAD = """
INSERT INTO leaders (role, holder, expires_at)
SELECT $1, $2, clock_timestamp() + make_interval(secs => $3)
WHERE NOT EXISTS (
    SELECT FROM leaders l
    WHERE l.role = $1 AND l.holder <> $2 AND l.expires_at >= clock_timestamp()
)
ON CONFLICT (role) DO UPDATE SET holder = $2, expires_at = excluded.expires_at
WHERE leaders.holder = $2 OR leaders.expires_at < clock_timestamp()
RETURNING true
"""
_RESIGN = "DELETE FROM leaders WHERE role = $1 AND holder = $2"
_REJECT = """
INSERT INTO rejected (stream, command_id, actor, reason, body) VALUES ($1, $2, $3, $4, $5)
"""


class PgLeases:
    """`Leases` over asyncpg."""

    def __init__(self, pool: Database) -> None:
        """Use ``pool`` for every call."""
        self._pool = pool

    async def renew(
        self, runner_id: str, held: Sequence[Held], ttl_sec: float
    ) -> dict[UUID, LeaseState]:
        """Extend those of ``held`` this runner really holds; say of each what it is now."""
        ordered = sorted(held, key=lambda lease: lease.task_id)
        rows = await self._pool.fetch(
            _RENEW,
            runner_id,
            [lease.task_id for lease in ordered],
            [lease.execution_id for lease in ordered],
            [lease.epoch for lease in ordered],
            ttl_sec,
        )
        states = {lease.execution_id: LeaseState.LOST for lease in held}
        for execution_id, cancel in rows:
            states[UUID(int=execution_id.int)] = LeaseState.CANCEL if cancel else LeaseState.HELD
        return states

    async def expired(self) -> tuple[list[Lease], datetime]:
        """Return the leases past their expiry, at most 1,000, the oldest first, and the clock."""
        rows = await self._pool.fetch(_EXPIRED)
        late = [
            Lease(
                task_id=row["task_id"],
                execution_id=UUID(int=row["execution_id"].int),
                epoch=row["epoch"],
                runner_id=row["runner_id"],
                begun=row["begun"],
            )
            for row in rows
            if row["task_id"] is not None
        ]
        return late, rows[0]["shown"]


class PgLeadership:
    """`Leadership` over asyncpg."""

    def __init__(self, pool: Database) -> None:
        """Use ``pool`` for every call."""
        self._pool = pool

    async def acquire(self, role: str, holder: str, ttl_sec: float) -> bool:
        """Take or extend the lead of a role; false while another holds it."""
        return await self._pool.fetchval(_LEAD, role, holder, ttl_sec) is not None

    async def resign(self, role: str, holder: str) -> None:
        """Give the lead up, if held."""
        await self._pool.execute(_RESIGN, role, holder)


class PgRejections:
    """`Rejections` over asyncpg."""

    def __init__(self, pool: Database) -> None:
        """Use ``pool`` for every call."""
        self._pool = pool

    async def keep(
        self, *, stream: str, command_id: str, actor: str, reason: str, body: bytes
    ) -> None:
        """Keep it; never applied to anything."""
        await self._pool.execute(_REJECT, stream, command_id, actor, reason, body)


class PgNumbers:
    """`Numbers` from sequences, fetched a few at a time; a restart leaves a gap of less than 16."""

    _BLOCK = 16

    def __init__(self, pool: Database) -> None:
        """Use ``pool`` for every call."""
        self._pool = pool
        self._ready: dict[str, deque[int]] = {}

    async def next(self, category: str) -> int:
        """Return an id of ``task`` or ``project`` never returned before, by any process."""
        ready = self._ready.setdefault(category, deque())
        if not ready:
            block = self._BLOCK if category == "task" else 1
            rows = await self._pool.fetch(
                "SELECT nextval($1::text::regclass) FROM generate_series(1, $2::int)",
                f"{category}_ids",
                block,
            )
            ready.extend(row[0] for row in rows)
        return ready.popleft()
