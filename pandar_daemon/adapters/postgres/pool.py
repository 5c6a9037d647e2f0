"""Connections that act as ``pandar_app``, which can read the log but not write it."""

from __future__ import annotations

import asyncio
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
ANSWER_SEC = 10.0
"""How long a statement may take unless its caller knows better.

A server that hangs, or a network that forgot a connection, is noticed after this, and the
connection given up after as long again, in which asyncpg waits for its cancellation.
"""
_PLANNED_ONCE = {**_SETTINGS, "plan_cache_mode": "force_generic_plan"}


async def connect(url: str) -> asyncpg.Connection:
    """Return one connection outside the pool, for statements that are repeated; to be closed.

    They are planned once: left to choose, Postgres plans an append anew each time, which costs
    more than the append. Raises one of `outages.AWAY` when the database is away.
    """
    connection = await asyncpg.connect(url, server_settings=_PLANNED_ONCE, timeout=10)
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

    async def fetch(
        self, sql: str, *arguments: object, timeout_sec: float = ANSWER_SEC
    ) -> list[asyncpg.Record]:
        """Return all rows."""
        async with self._alone() as connection:
            return await connection.fetch(sql, *arguments, timeout=timeout_sec)

    async def fetchrow(self, sql: str, *arguments: object) -> asyncpg.Record | None:
        """Return the first row, if any."""
        async with self._alone() as connection:
            return await connection.fetchrow(sql, *arguments)

    async def fetchval(self, sql: str, *arguments: object) -> object:
        """Return the first column of the first row, ``None`` without one."""
        async with self._alone() as connection:
            return await connection.fetchval(sql, *arguments)

    async def execute(self, sql: str, *arguments: object) -> str:
        """Run a statement and return its tag."""
        async with self._alone() as connection:
            return await connection.execute(sql, *arguments)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy]:
        """Yield one connection, for a transaction; never left open."""
        async with self._calling(), self._pool.acquire() as connection:
            yield connection

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy]:
        """Yield a connection for one statement; nobody else gets it when that is given up.

        Cancelled between asyncpg's Parse, which no Sync follows, and its Bind, it would be in a
        transaction that only the server knows of.
        """
        async with self._calling(), self._pool.acquire() as connection:
            try:
                yield connection
            except asyncio.CancelledError:
                connection.terminate()
                raise

    @asynccontextmanager
    async def _calling(self) -> AsyncIterator[None]:
        """Turn an outage into ``ConnectionError``; after a silence trust no old connection."""
        try:
            with calling():
                yield
        except ConnectionError as error:
            if isinstance(error.__cause__, TimeoutError):
                await self._pool.expire_connections()
            raise


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
        command_timeout=ANSWER_SEC,
    )
    try:
        yield Database(made)
    finally:
        made.terminate()
