"""Logs whose partitions have room for few events."""

from __future__ import annotations

import asyncpg

from pandar_daemon.ports.archive import Span


async def narrow(url: str, width: int) -> None:
    """Give a log without events partitions of ``width`` positions."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("DROP TABLE events_1")
        move = "UPDATE log_head SET partition_width = $1, partitioned_to = 0"
        await connection.execute(move, width)
        await connection.execute("SELECT extend_log(0)")
    finally:
        await connection.close()


async def partitions(connection: asyncpg.Connection) -> list[Span]:
    """Return the ranges that are tables of their own, in order."""
    rows = await connection.fetch("SELECT * FROM partitions ORDER BY first_position")
    return [Span(row["first_position"], row["last_position"]) for row in rows]
