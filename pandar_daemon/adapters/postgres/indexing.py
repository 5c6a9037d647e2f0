"""Indexes and statistics of a generation, made when it is full, several at once.

Each is made in a transaction of its own, alone among all processes, and found made by whoever comes
next: so it does not matter who makes it, nor who dies meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable

from pandar_daemon.adapters.postgres import generations
from pandar_daemon.adapters.postgres.pool import Database
from pandar_daemon.adapters.postgres.queries import query
from projections.base import ReadModel, Table

AT_ONCE = 2
"""Of one model: others are indexed beside it, and for a large table Postgres takes more cores."""
TIMEOUT_SEC = 3_600.0
"""How long making one index may take."""


async def index(database: Database, model: ReadModel, generation: int) -> None:
    """Make all indexes of a generation, then statistics; harmless where they were made before.

    Raises what the first that failed raises; the others are given up.
    """
    schema = generations.schema_of(model.name, generation)
    lanes = asyncio.Semaphore(AT_ONCE)

    async def make(sql: str) -> None:
        async with lanes, database.acquire() as connection, connection.transaction():
            await connection.execute(query("lock_model"), sql)
            await connection.execute(sql, timeout=TIMEOUT_SEC)

    async def finish(table: Table) -> None:
        await _all(make(sql) for sql in generations.indexing(schema, table))
        await make(f"ANALYZE {schema}.{table.name}")

    await _all(finish(table) for table in sorted(model.tables, key=generations.slow_first))


async def _all(works: Iterable[Coroutine[object, object, None]]) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except ExceptionGroup as failed:
        first = failed.exceptions[0]
        raise first from first.__cause__
