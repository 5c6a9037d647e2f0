"""The log in ranges of positions: partitions come ahead of the head, and nobody notices."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

import migrations
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.postgres import event_store
from pandar_daemon.adapters.postgres.event_store import PgEventStore
from pandar_daemon.adapters.postgres.lane import Lane
from pandar_daemon.adapters.postgres.migrate import migrate
from pandar_daemon.adapters.postgres.pool import pool
from pandar_daemon.ports import Append, Appended, Conflict, Key, LogDamaged
from tests.support.appending import append_load, item, said, texts
from tests.support.log import Log, open_log, running
from tests.support.narrow import narrow, partitions

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers")]

WIDTH = 8
OLD = ("0001_pre_log.sql", "0002_pre_read_models.sql")
_OLD_STREAM = (
    "SELECT version FROM events WHERE stream = $1 AND version > $2"
    " AND ($3::bigint IS NULL OR position <= $3) ORDER BY version"
)


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Return a connection as the database's owner."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def log(database_url: str) -> AsyncIterator[Log]:
    """Return a log over a fresh database whose partitions have room for 8 events."""
    await narrow(database_url, WIDTH)
    async with open_log(database_url) as opened:
        yield opened


@asynccontextmanager
async def held(url: str) -> AsyncIterator[None]:
    """Hold the table as a long act of upkeep would: nobody may give it a partition."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("BEGIN; LOCK TABLE events IN SHARE UPDATE EXCLUSIVE MODE")
        yield
    finally:
        await connection.close()


async def test_a_spare_is_always_there(log: Log, admin: asyncpg.Connection) -> None:
    """In its last quarter a partition has a successor; before that nothing is made."""
    made = []
    for n in range(2 * WIDTH):
        await log.store.append(item(f"task-{n}"))
        made.append((await partitions(admin))[-1].last)
    assert made == [8] * 6 + [16] * 8 + [24] * 2


async def test_an_append_may_cross_and_jump(log: Log, admin: asyncpg.Connection) -> None:
    """An append larger than a partition is stored whole, dense, across as many as it takes."""
    await log.store.append(item("task-1", 0, *said("a", "b", "c")))
    many = said(*map(str, range(3 * WIDTH)))
    assert await log.store.append(item("task-1", 3, *many)) == Appended(position=27, version=27)
    assert [each.position for each in await log.everything()] == list(range(1, 28))
    assert texts(await log.store.read_stream("task-1"))[3:] == list(map(str, range(3 * WIDTH)))
    spans = await partitions(admin)
    assert [span.first for span in spans] == [span.last - WIDTH + 1 for span in spans]
    assert spans[-1].last >= 27 + WIDTH / 4


async def test_writers_cross_at_once(log: Log, database_url: str) -> None:
    """Writers of two processes on hot streams cross dozens of boundaries: dense, none twice."""
    async with open_log(database_url) as other:
        told = await asyncio.gather(
            append_load(log.store, "a", 8, 40), append_load(other.store, "b", 8, 40)
        )
    history = await log.everything()
    assert [each.position for each in history] == list(range(1, len(history) + 1))
    assert len(history) == sum(size for one in told for size in one.sizes.values()) > 10 * WIDTH
    versions: dict[str, int] = {}
    for each in history:
        assert each.version == versions.get(each.stream, 0) + 1
        versions[each.stream] = each.version
    assert {s: len(await log.store.read_stream(s)) for s in versions} == versions


async def test_a_partition_not_seen_yet_is_waited_for(
    log: Log, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process made it and says so, but our session has yet to hear: nothing is refused."""
    refused = asyncio.Event()
    drop = Lane.drop

    def dropped(lane: Lane) -> None:
        refused.set()
        drop(lane)

    monkeypatch.setattr(Lane, "drop", dropped)
    await admin.execute("UPDATE log_head SET partitioned_to = 100")
    many = asyncio.create_task(log.store.append(item("task-1", 0, *said(*map(str, range(9))))))
    await refused.wait()
    await admin.execute("UPDATE log_head SET partitioned_to = $1", WIDTH)
    assert await many == Appended(position=9, version=9)


async def test_streams_tell_where_they_are(log: Log, admin: asyncpg.Connection) -> None:
    """The row of a stream follows its events through conflicts, poison, and idle commands."""
    await append_load(log.store, "a", 6, 30)
    wrong = await admin.fetch(
        "SELECT stream FROM streams FULL JOIN (SELECT stream, max(version) AS v,"
        " min(position) AS f, max(position) AS l FROM events GROUP BY stream) e USING (stream)"
        " WHERE (version, first_position, last_position) IS DISTINCT FROM (v, f, l)"
    )
    assert wrong == []


async def test_a_busy_table_is_not_waited_for(
    log: Log, admin: asyncpg.Connection, database_url: str
) -> None:
    """While there is room, appends do not care that nothing can be made; later it is made."""
    async with held(database_url), asyncio.timeout(5):
        for n in range(WIDTH):
            assert isinstance(await log.store.append(item(f"task-{n}")), Appended)
        assert (await partitions(admin))[-1].last == WIDTH
    assert isinstance(await log.store.append(item("task-x")), Appended)
    assert (await partitions(admin))[-1].last == 2 * WIDTH


async def test_without_room_an_append_waits(
    log: Log, admin: asyncpg.Connection, database_url: str
) -> None:
    """At the very end the append waits for the table, and is stored once it is free."""
    blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'events'::regclass"
    async with held(database_url):
        for n in range(WIDTH):
            await log.store.append(item(f"task-{n}"))
        last = asyncio.create_task(log.store.append(item("task-x")))
        while not await admin.fetchval(blocked):
            pass
        assert not last.done()
    assert await last == Appended(position=WIDTH + 1, version=1)


async def test_readers_are_not_waited_for(log: Log, database_url: str) -> None:
    """A reader in the middle of a long transaction keeps no partition from being made."""
    reader = await asyncpg.connect(database_url)
    await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM events")
    async with asyncio.timeout(5):
        for n in range(3 * WIDTH):
            await log.store.append(item(f"task-{n}"))
    assert await reader.fetchval("SELECT count(*) FROM events") == 0
    await reader.close()


async def test_reading_a_stream_looks_where_it_is(log: Log, admin: asyncpg.Connection) -> None:
    """Of ten partitions those before a stream began and after its last event are not opened."""
    for n in range(4 * WIDTH):
        await log.store.append(item(f"task-{n}"))
    await log.store.append(item("task-x", 0, *said("a", "b")))
    for n in range(4 * WIDTH):
        await log.store.append(item(f"task-y{n}"))
    async with admin.transaction():
        rows = await admin.fetch(event_store._STREAM, "task-x", 0, None, None)
        scanned = await admin.fetch(_SCANNED)
    assert [row["version"] for row in rows] == [1, 2]
    assert [row["relname"] for row in scanned] == ["events_33"]


_SCANNED = """
SELECT relname FROM pg_stat_xact_user_tables
WHERE relname LIKE 'events_%' AND seq_scan + idx_scan > 0
"""


async def test_a_hole_is_an_error(log: Log, admin: asyncpg.Connection) -> None:
    """Whoever reads over a position that is gone hears which one, and gets nothing past it."""
    for n in range(4):
        await log.store.append(item(f"task-{n}"))
    await admin.execute("DELETE FROM events WHERE position = 3")
    with pytest.raises(LogDamaged, match="position 3 is missing"):
        await log.store.read_all(after=1, limit=10)
    assert len(await log.store.read_all(after=0, limit=2)) == 2


# --- from the release before -----------------------------------------------------------------


@pytest.fixture
async def old_url(empty_database_url: str, tmp_path: Path) -> str:
    """Return a database as release 0.1 left it, with a few events."""
    for name in OLD:
        shutil.copy(Path(migrations.__file__).with_name(name), tmp_path)
    await migrate(empty_database_url, tmp_path)
    free = (Key("concurrency", "nobody's"),)  # with a key it is sent as 0.1 sends every append
    async with open_log(empty_database_url) as log:
        await log.store.append(item("task-1", 0, *said("a", "b"), release=free))
        await log.store.append(item("task-2", 0, *said("c"), release=free))
        await log.store.append(item("task-1", 2, *said("d"), release=free))
    return empty_database_url


async def test_a_log_of_the_release_before_goes_on(old_url: str) -> None:
    """What was there is read, judged and continued as ever; it is the first partition."""
    await migrate(old_url)
    async with open_log(old_url) as log:
        assert texts(await log.everything()) == ["a", "b", "c", "d"]
        assert texts(await log.store.read_stream("task-1")) == ["a", "b", "d"]
        assert await log.store.append(item("task-1", 2, command_id="x")) == Conflict(3)
        assert await log.store.append(item("task-1", 3)) == Appended(position=5, version=4)
        spans = [(row[0], row[1]) for row in await log.database.fetch("SELECT * FROM partitions")]
        assert spans == [(1, 1_000_000)]


async def test_a_large_log_is_one_partition(old_url: str) -> None:
    """However long the log was, its first partition ends behind it, and the next append fits."""
    connection = await asyncpg.connect(old_url)
    await connection.execute(
        "INSERT INTO events SELECT 2500000, 'task-3', 1, gen_random_uuid(), type, schema_version,"
        " recorded_at, actor, project_id, 'c', 'c', NULL, NULL, data FROM events"
        " WHERE position = 1;"
        "UPDATE log_head SET position = 2500000"
    )
    await migrate(old_url)
    assert [tuple(span) for span in await connection.fetch("SELECT * FROM partitions")] == [
        (1, 3_000_000)
    ]
    await connection.close()
    async with open_log(old_url) as log:
        appended = await log.store.append(item("task-3", 1))
        assert appended == Appended(position=2_500_001, version=2)


async def test_code_of_the_release_before_reads_on(old_url: str) -> None:
    """The statements 0.1 sends, as its role, find on the new schema what they found on the old."""
    async with pool(old_url, size=2) as database:
        before = await database.fetch(_OLD_STREAM, "task-1", 0, None)
        await migrate(old_url)
        assert await database.fetch(_OLD_STREAM, "task-1", 0, None) == before
        store = PgEventStore(old_url, database, SystemClock())
        wanted: Append = item("task-1", 3, *said("e"))
        async with running(store.run()):
            assert await store.append(wanted) == Appended(position=5, version=4)
        rows = await database.fetch(_OLD_STREAM, "task-1", 0, None)
        assert [row["version"] for row in rows] == [1, 2, 3, 4]
