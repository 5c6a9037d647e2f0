"""Somebody else's open transaction holds nobody up: not the relay, read models or subscribers.

Judged by order, not by time: whoever reads has everything while the transaction is still open. It
has a number, a snapshot and written rows, and is older than every event: what makes readers wait
that order by transaction ids, or skip that order by a sequence.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import nats
import pytest

from events import subjects
from tests.support.servers import TestServers
from tests.support.serving import Urls, serving

pytestmark = [pytest.mark.fault, pytest.mark.timeout(120)]

TASKS = 40
OPEN_SEC = 3
PATIENCE_SEC = 60.0


@asynccontextmanager
async def idle_transaction(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection whose transaction is open, and has done all that could disturb."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS foreign_rows (id bigint)")
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await connection.execute("INSERT INTO foreign_rows SELECT pg_current_xact_id()::text::int8")
        await connection.execute("SELECT count(*) FROM events")
        await connection.execute("SELECT nextval('task_ids')")
        yield connection
    finally:
        await connection.close()


async def positions(nats_url: str, wanted: int, listening: asyncio.Event) -> list[int]:
    """Return the positions a plain NATS subscriber hears live, up to a number of them."""
    heard: list[int] = []
    client = await nats.connect(nats_url)
    try:
        subscription = await client.subscribe(f"{subjects.LIVE_EVENTS}.task.created.>")
        await client.flush()
        listening.set()
        while len(heard) < wanted:
            msg = await subscription.next_msg(PATIENCE_SEC)
            heard.append(int((msg.headers or {})["Nats-Sequence"]))
    finally:
        await client.close()
    return heard


async def test_nobody_waits_for_a_transaction_of_others(
    servers: TestServers, database_url: str, nats_url: str, tmp_path: Path
) -> None:
    """Bus, read models and a subscriber have every event while two transactions are open."""
    other_url = await servers.create_database()
    listening = asyncio.Event()
    async with (
        serving(Urls(database_url, nats_url), tmp_path) as daemon,
        idle_transaction(database_url) as here,
        idle_transaction(other_url) as elsewhere,
    ):
        hearing = asyncio.create_task(positions(nats_url, TASKS, listening))
        await listening.wait()
        await daemon.file_many("task", TASKS)
        heard = await hearing
        history = await daemon.check()
        for connection in (here, elsewhere):
            assert connection.is_in_transaction(), "it ended before the readers had everything"
            await connection.execute("COMMIT")
        created = [each.position for each in history.events if each.type == "task.created"]
        assert heard == created
    await servers.drop_database(other_url)


async def test_three_seconds_of_it_add_no_event_to_any_lag(
    servers: TestServers, database_url: str, nats_url: str, tmp_path: Path
) -> None:
    """Open from the first command on for 3 s by the database's clock, with commands all along."""
    async with (
        serving(Urls(database_url, nats_url), tmp_path) as daemon,
        idle_transaction(database_url) as idle,
    ):
        rounds = 0
        while not await idle.fetchval(
            "SELECT clock_timestamp() > now() + make_interval(secs => $1)", float(OPEN_SEC)
        ):
            await daemon.file(f"round-{rounds}")
            await daemon.level()  # all readers have it, and the transaction is open
            assert idle.is_in_transaction()
            rounds += 1
        assert rounds > 1
        await idle.execute("COMMIT")
        await daemon.check()
