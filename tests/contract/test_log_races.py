"""The log under many writers: nothing skipped, nothing reordered, nothing twice, nothing late.

Every event store that orders by a sequence or by transaction ids fails one of these: a reader
passes over an event whose transaction commits late, or waits for a transaction that has nothing
to do with it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import msgspec
import pytest

from events.envelope import Recorded
from pandar_daemon.ports import EventStore
from tests.support.appending import Told, append_load, run_process, texts
from tests.support.log import Log, open_log
from tests.support.servers import TestServers

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers")]

PROCESSES, WRITERS, APPENDS = 2, 12, 250


async def tail(store: EventStore, ended: asyncio.Event) -> list[Recorded]:
    """Follow the log by position until the writers have ended and all is read.

    At every poll what comes next must be what follows: that is the whole promise.
    """
    read: list[Recorded] = []
    while True:
        last_look = ended.is_set()
        batch = await store.read_all(after=len(read), limit=50)
        for each in batch:
            assert each.position == len(read) + 1, "skipped or reordered"
            read.append(each)
        if last_look and not batch:
            return read


@asynccontextmanager
async def open_transaction(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection with a transaction that has a number, a snapshot and written rows."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await connection.execute("CREATE TABLE foreign_rows (id bigint)")
        await connection.execute(
            "INSERT INTO foreign_rows SELECT pg_current_xact_id()::text::bigint"
        )
        yield connection
    finally:
        await connection.close()


def prove_whole(history: list[Recorded], told: list[Told]) -> None:
    """Prove that the log holds what the writers were told, and nothing else."""
    stored: dict[str, list[Recorded]] = {}
    for each in history:
        stored.setdefault(each.command_id, []).append(each)
    appended = {command: answer for one in told for command, answer in one.appended.items()}
    assert set(stored) == set(appended)
    for one in told:
        for command, size in one.sizes.items():
            assert texts(stored[command]) == [f"{command}/{k}" for k in range(size)]
            last = stored[command][-1]
            assert (last.version, last.position) == one.appended[command]
    refused = {command for one in told for command in (*one.conflicts, *one.refused)}
    assert refused.isdisjoint(stored)
    assert len({each.event_id for each in history}) == len(history)


def prove_streams_dense(history: list[Recorded]) -> None:
    """Prove that versions count on within each stream, in the order of positions."""
    versions: Counter[str] = Counter()
    for each in history:
        versions[each.stream] += 1
        assert each.version == versions[each.stream]


async def test_a_reader_never_skips_waits_or_sees_twice(
    servers: TestServers, database_url: str
) -> None:
    """24 writers in two processes, rollbacks, stale versions, and idle transactions beside them.

    The transactions, one in this database and one in another, stay open until the reader has
    everything: had they held it up, this test would never end.
    """
    other_url = await servers.create_database()
    ended = asyncio.Event()
    async with AsyncExitStack() as stack:
        idle = await stack.enter_async_context(open_transaction(database_url))
        foreign = await stack.enter_async_context(open_transaction(other_url))
        log = await stack.enter_async_context(open_log(database_url))
        async with asyncio.TaskGroup() as group:
            reader = group.create_task(tail(log.store, ended))
            told = await _loads(database_url)
            ended.set()
        history = reader.result()
        for connection in (idle, foreign):
            assert connection.is_in_transaction()
            await connection.execute("COMMIT")
    await servers.drop_database(other_url)
    assert len(history) > 1000
    assert sum(len(one.conflicts) for one in told) > 100
    assert sum(len(one.refused) for one in told) > 100
    prove_whole(history, told)
    prove_streams_dense(history)


async def _loads(url: str) -> list[Told]:
    printed = await asyncio.gather(
        *(run_process(url, f"p{n}", str(WRITERS), str(APPENDS)) for n in range(PROCESSES))
    )
    return [msgspec.json.decode(out, type=Told) for out in printed]


@pytest.mark.fault
async def test_a_killed_postgres_loses_and_doubles_nothing(
    servers: TestServers, database_url: str
) -> None:
    """Killed twice under load and started again: every answered append is there, once.

    An append whose outcome is unknown is asked again under its command id, and becomes one.
    """
    async with open_log(database_url) as log:
        async with asyncio.TaskGroup() as group:
            load = group.create_task(append_load(log.store, "k", WRITERS, 200, poison=0.0))
            for after in (100, 400):
                await _reached(log, after)
                assert not load.done()
                await servers.kill_postgres()
                await servers.start_postgres()
        told = load.result()
        ended = asyncio.Event()
        ended.set()
        history = await tail(log.store, ended)
    assert len(told.appended) + len(told.conflicts) == WRITERS * 200
    prove_whole(history, [told])
    prove_streams_dense(history)


async def _reached(log: Log, position: int) -> None:
    """Return once the log is this long."""
    while True:
        try:
            if (await log.store.head()).position >= position:
                return
        except ConnectionError:
            await asyncio.sleep(0.05)
