"""The writer of the log: bounded, and nobody is left waiting when it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.postgres import company
from pandar_daemon.adapters.postgres.event_store import PgEventStore
from pandar_daemon.adapters.postgres.writer import QUEUE_MAX, SHARE_MIN
from pandar_daemon.ports import Appended, Conflict, Verdict
from tests.support.appending import (
    item,
    poisoned,
    said,
)
from tests.support.log import Log, open_log, running

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers")]


@pytest.fixture
async def log(database_url: str) -> AsyncIterator[Log]:
    """Return a log over a fresh database."""
    async with open_log(database_url) as opened:
        yield opened


async def test_a_full_queue_says_so(database_url: str) -> None:
    """Past its limit an append is refused at once; what waits is failed when the writer stops."""
    async with open_log(database_url) as log:
        store = log.store
        lock = await asyncpg.connect(database_url)
        await lock.execute("BEGIN; SELECT * FROM log_head FOR UPDATE")
        waiting = [asyncio.create_task(store.append(item(f"task-{n}"))) for n in range(QUEUE_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(ConnectionError, match=f"{QUEUE_MAX} appends are waiting"):
            await store.append(item("one-more"))
    await lock.close()
    verdicts = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(verdict) for verdict in verdicts} == {ConnectionError}


async def test_stopping_leaves_nobody_waiting(database_url: str) -> None:
    """Stopped while it halves a batch with a poisoned item, the writer answers everybody."""
    async with open_log(database_url) as log:
        lock = await asyncpg.connect(database_url)
        await lock.execute("BEGIN; SELECT * FROM log_head FOR UPDATE")
        items = [*(item(f"task-{n}") for n in range(7)), poisoned("task-7")]
        waiting = [asyncio.create_task(log.store.append(one)) for one in items]
        watch = await asyncpg.connect(database_url)
        blocked = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        while await watch.fetchval(blocked) is None:
            pass
        await watch.close()
    await lock.close()
    async with asyncio.timeout(5):
        verdicts = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(verdict) for verdict in verdicts} == {ConnectionError}


async def test_two_batches_are_under_way_when_much_waits(database_url: str, log: Log) -> None:
    """The second waits in the database, not here; with one item less it would wait here."""
    lock, watch = await asyncpg.connect(database_url), await asyncpg.connect(database_url)
    sent = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = current_database()"
    )

    async def ask(first: int, last: int, batches: int) -> list[asyncio.Task[Verdict]]:
        streams = [f"task-{n}" for n in range(first, last)]
        asked = [asyncio.create_task(log.store.append(item(one))) for one in streams]
        while await watch.fetchval(sent) < batches:
            pass
        return asked

    try:
        await lock.execute("BEGIN; SELECT * FROM log_head FOR UPDATE")
        waiting = await ask(0, 2 * SHARE_MIN, 2)
        assert await watch.fetchval(sent) == 2
        await lock.execute("COMMIT")
        await asyncio.gather(*waiting)
        await lock.execute("BEGIN; SELECT * FROM log_head FOR UPDATE")
        waiting = await ask(100, 101, 1) + await ask(200, 200 + SHARE_MIN - 1, 1)
        for _ in range(100):
            await asyncio.sleep(0)
        assert await watch.fetchval(sent) == 1
        await lock.execute("COMMIT")
        await asyncio.gather(*waiting)
        sizes = await watch.fetch("SELECT count(*) FROM events GROUP BY xmin::text ORDER BY 1")
        assert [each["count"] for each in sizes] == [1, SHARE_MIN - 1, SHARE_MIN, SHARE_MIN]
    finally:
        await lock.close()
        await watch.close()


async def test_appends_to_a_stream_keep_their_order(log: Log) -> None:
    """However much waits, who asked first is judged first: none of them is in another's way."""
    asked = [(f"task-{n}", version) for version in range(5) for n in range(3 * SHARE_MIN)]
    verdicts = await asyncio.gather(
        *(log.store.append(item(stream, version)) for stream, version in asked)
    )
    told = [verdict.version for verdict in verdicts if isinstance(verdict, Appended)]
    assert told == [version + 1 for _, version in asked]


async def test_who_stops_waiting_appends_nothing(database_url: str) -> None:
    """An append that was cancelled before it was sent is not sent."""
    async with open_log(database_url) as log:
        gone = asyncio.create_task(log.store.append(item("task-1")))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert await log.store.append(item("task-1", 0, command_id="other")) in (
            Appended(position=1, version=1),
            Conflict(1),
        )


async def test_committed_hears_of_positions(database_url: str, log: Log) -> None:
    """Each commit that moved the end of the log is told, with its last position."""
    heard: list[int] = []
    store = PgEventStore(database_url, log.database, SystemClock(), committed=heard.append)
    async with running(store.run()):
        await store.append(item("task-1", 0, *said("a", "b")))
        await store.append(item("task-1", 0, command_id="stale"))
        await store.append(item("task-1", 2))
    assert heard == [2, 3]


async def test_commits_keep_a_pace_unless_enough_waits(
    log: Log, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first append waits for nothing; those that follow closely share the next commit."""
    monkeypatch.setattr(company, "PACE_SEC", 3_600.0)
    monkeypatch.setattr(company, "PACE_ITEMS", 3)
    await log.store.append(item("task-1"))
    early = [asyncio.create_task(log.store.append(item(f"task-{n}"))) for n in (2, 3)]
    for _ in range(100):
        await asyncio.sleep(0)
    assert not any(waiting.done() for waiting in early)
    await log.store.append(item("task-4"))
    await asyncio.gather(*early)
    admin = await asyncpg.connect(database_url)
    try:
        assert await admin.fetchval("SELECT count(DISTINCT xmin::text) FROM events") == 2
    finally:
        await admin.close()


async def test_a_pace_ends_by_itself(log: Log) -> None:
    """An append that nobody follows is stored too, when the time has passed."""
    for n in range(3):
        assert isinstance(await log.store.append(item(f"task-{n}")), Appended)
