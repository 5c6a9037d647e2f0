"""Connections that act as ``pandar_app``, which can read the log but not write it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from pandar_daemon.adapters.postgres.outages import calling

ROLE = "pandar_app"
_SETTINGS = {
    "application_name": "pandar",
    "idle_in_transaction_session_timeout": "10s",
    "lock_timeout": "10s",
    "timezone": "UTC",
}


async def connect(url: str) -> asyncpg.Connection:
    """Return one connection outside the pool; the caller closes it.

    Raises one of `outages.AWAY` when the database is away.
    """
    connection = await asyncpg.connect(url, server_settings=_SETTINGS, timeout=10)
    await _act_as_app(connection)
    return connection


async def _act_as_app(connection: asyncpg.Connection) -> None:
    await connection.execute(f"SET ROLE {ROLE}")


async def _end_transaction(connection: asyncpg.Connection) -> None:
    """Leave nothing open. No other state outlives a use: settings are made LOCAL here.

    asyncpg's own reset would cost a round trip each time a connection is given back.
    """
    if connection.is_in_transaction():
        await connection.execute("ROLLBACK")


class Database:
    """A pool whose only failure of its own is ``ConnectionError``."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        """Use ``pool``, which the maker closes."""
        self._pool = pool

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Return all rows."""
        with calling():
            return await self._pool.fetch(sql, *arguments)

    async def fetchrow(self, sql: str, *arguments: object) -> asyncpg.Record | None:
        """Return the first row, if any."""
        with calling():
            return await self._pool.fetchrow(sql, *arguments)

    async def fetchval(self, sql: str, *arguments: object) -> object:
        """Return the first column of the first row, ``None`` without one."""
        with calling():
            return await self._pool.fetchval(sql, *arguments)

    async def execute(self, sql: str, *arguments: object) -> str:
        """Run a statement and return its tag."""
        with calling():
            return await self._pool.execute(sql, *arguments)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy]:
        """Yield one connection, for a transaction; never left open."""
        with calling():
            async with self._pool.acquire() as connection:
                yield connection


@asynccontextmanager
async def pool(url: str, *, size: int = 10) -> AsyncIterator[Database]:
    """Yield a pool of at most ``size`` connections, made when needed; ends them when left."""
    made = await asyncpg.create_pool(
        url,
        min_size=0,
        max_size=size,
        server_settings=_SETTINGS,
        init=_act_as_app,
        reset=_end_transaction,
        timeout=10,
        command_timeout=60,
    )
    try:
        yield Database(made)
    finally:
        made.terminate()
