"""An archived log is read as if nothing had happened, and no moment of archiving loses anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import takewhile
from pathlib import Path

import asyncpg
import pytest

from events.envelope import Recorded
from events.ids import task_stream
from pandar_daemon.adapters.archive.folder import FileArchive
from pandar_daemon.adapters.postgres import archivable as archiving
from pandar_daemon.adapters.postgres.archivable import OVER, AlreadyArchiving, archivable
from pandar_daemon.adapters.postgres.pool import pool
from pandar_daemon.ports import Appended
from pandar_daemon.ports.archive import ArchiveUnreadable, Span
from tests.support.appending import item, said, texts
from tests.support.archiving import archive_all, archive_until_killed, open_archived
from tests.support.lives import random_lives
from tests.support.log import Log, assert_folded, open_log, project_all
from tests.support.narrow import narrow, partitions

WIDTH = 60
SEED = 11


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Return a connection as the database's owner."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def log(database_url: str, tmp_path: Path) -> AsyncIterator[Log]:
    """Return a log of random lives in partitions of 60 events; nothing is archived yet."""
    await narrow(database_url, WIDTH)
    async with open_archived(database_url, tmp_path) as opened:
        await opened.add_lives(random_lives(SEED, 90, steps=12))
        yield opened


def by_stream(history: list[Recorded]) -> dict[str, list[Recorded]]:
    """Return the events of each stream."""
    streams: dict[str, list[Recorded]] = {}
    for event in history:
        streams.setdefault(event.stream, []).append(event)
    return streams


def was_recorded(event: Recorded, *, by: datetime) -> bool:
    """Tell whether an event was recorded by a time."""
    return event.recorded_at <= by


async def prove_same(log: Log, history: list[Recorded]) -> None:
    """Prove that every way to read the log gives what it gave before."""
    read_all, read_stream = log.store.read_all, log.store.read_stream
    head = len(history)
    assert (await log.store.head()).position == head
    assert await log.everything() == history
    for after in range(0, head + 2, 7):
        assert await read_all(after=after, limit=25) == history[after : after + 25]
    for stream, events in by_stream(history).items():
        middle = events[len(events) // 2]
        known = [e for e in events if e.version <= middle.version]
        assert await read_stream(stream) == events
        assert await read_stream(stream, after_version=1) == events[1:]
        assert await read_stream(stream, up_to=middle.position) == known
        assert await read_stream(stream, up_to=middle.recorded_at) == list(
            takewhile(partial(was_recorded, by=middle.recorded_at), events)
        )


async def test_an_archived_log_reads_as_before(
    log: Log, database_url: str, tmp_path: Path, admin: asyncpg.Connection
) -> None:
    """Dense by position, whole by stream, at any moment of the past; the table is small."""
    history = await log.everything()
    assert len(history) > 6 * WIDTH
    whole = len(history) // WIDTH
    done = await archive_all(database_url, tmp_path)
    assert [one.archived.span for one in done] == [
        Span(n * WIDTH + 1, (n + 1) * WIDTH) for n in range(whole)
    ]
    await prove_same(log, history)
    rows = await admin.fetchval("SELECT count(*) FROM events")
    assert rows == done[-1].kept + len(history) - whole * WIDTH < len(history)
    assert (await partitions(admin))[0].first == whole * WIDTH + 1
    assert await archive_all(database_url, tmp_path) == []


async def test_what_goes_on_stays(log: Log, database_url: str, tmp_path: Path) -> None:
    """Tasks that are not over are read without the files; of the others it says which is needed."""
    streams = by_stream(await log.everything())
    await archive_all(database_url, tmp_path)
    archived = 0
    async with open_log(database_url) as bare:
        for stream, events in streams.items():
            if events[-1].type in OVER and events[0].position <= WIDTH:
                archived += 1
                with pytest.raises(ArchiveUnreadable, match="in archive files"):
                    await bare.store.read_stream(stream)
            elif events[-1].type not in OVER:
                assert await bare.store.read_stream(stream) == events
        with pytest.raises(ArchiveUnreadable, match="in archive files"):
            await bare.store.read_all(after=0, limit=10)
    assert archived > 3


async def test_an_archived_task_goes_on(log: Log, database_url: str, tmp_path: Path) -> None:
    """What is appended to a stream that was over follows its archived events, pass after pass."""
    streams = by_stream(await log.everything())
    over = [s for s, events in streams.items() if events[-1].type in OVER][:12]
    await archive_all(database_url, tmp_path)
    for n, stream in enumerate(over):
        version = len(streams[stream])
        appended = await log.store.append(
            item(stream, version, *said("again", str(n)), command_id=f"again-{n}")
        )
        assert isinstance(appended, Appended)
        assert appended.version == version + 2
        read = await log.store.read_stream(stream)
        assert read[:-2] == streams[stream]
        assert texts(read[-2:]) == ["again", str(n)]
    log.versions.clear()
    await log.add_lives((task + 1_000, event) for task, event in random_lives(3, 60, steps=12))
    history = await log.everything()
    assert await archive_all(database_url, tmp_path)
    await prove_same(log, history)


async def test_what_ends_later_leaves_later(
    log: Log, database_url: str, tmp_path: Path, admin: asyncpg.Connection
) -> None:
    """A stream kept by one pass is let go by the next one after its end, and still read whole."""
    await archive_all(database_url, tmp_path)
    kept = "SELECT DISTINCT stream FROM events WHERE position <= archived_to()"
    goes_on = [row["stream"] for row in await admin.fetch(kept)]
    assert len(goes_on) > 3
    await admin.execute("UPDATE events SET type = 'task.cancelled' WHERE type <> 'task.created'")
    await log.add_lives((task + 1_000, event) for task, event in random_lives(3, 40, steps=9))
    changed = by_stream(await log.everything())
    await archive_all(database_url, tmp_path)
    still = {row["stream"] for row in await admin.fetch(kept)}
    assert len(still & set(goes_on)) < len(goes_on)
    for stream in goes_on:
        assert [e.event_id for e in await log.store.read_stream(stream)] == [
            e.event_id for e in changed[stream]
        ]


async def test_read_models_are_rebuilt_from_files(
    log: Log, database_url: str, tmp_path: Path
) -> None:
    """Whoever reads the log from its beginning gets there."""
    await archive_all(database_url, tmp_path)
    head = (await log.store.head()).position
    await project_all(log, up_to=head)
    await assert_folded(log)


async def test_only_what_is_finished_and_old_goes(
    log: Log, database_url: str, tmp_path: Path, admin: asyncpg.Connection
) -> None:
    """A range with a single younger event stays, and so does all that follows it."""
    old = "UPDATE events SET recorded_at = recorded_at - interval '9 days' WHERE position <> 130"
    await admin.execute(old)
    done = await archive_all(database_url, tmp_path, before=datetime.now(UTC) - timedelta(days=7))
    assert [one.archived.span for one in done] == [Span(1, 60), Span(61, 120)]
    assert await archive_all(database_url, tmp_path, before=datetime(2000, 1, 1, tzinfo=UTC)) == []
    await prove_same(log, await log.everything())


async def test_reading_and_writing_go_on_meanwhile(
    log: Log, database_url: str, tmp_path: Path
) -> None:
    """Readers that page through the log, and writers, notice nothing while it is archived."""
    before = await log.everything()
    ended = asyncio.Event()

    async def page() -> int:
        rounds = 0
        while not ended.is_set():
            after = 0
            while batch := await log.store.read_all(after=after, limit=50):
                assert [e.position for e in batch] == list(range(after + 1, after + 1 + len(batch)))
                assert batch == before[after : after + 50] or batch[-1].position > len(before)
                after = batch[-1].position
            rounds += 1
        return rounds

    async def write() -> None:
        n = 0
        while not ended.is_set():
            await log.store.append(item(f"task-w{n}"))
            n += 1

    async with asyncio.TaskGroup() as group:
        pages = [group.create_task(page()) for _ in range(3)]
        group.create_task(write())
        done = await archive_all(database_url, tmp_path)
        ended.set()
    assert len(done) >= len(before) // WIDTH
    assert all(task.result() for task in pages)
    assert (await log.everything())[: len(before)] == before


async def test_killed_at_every_step_it_goes_on(log: Log, database_url: str, tmp_path: Path) -> None:
    """Killed after any of its reports, what it did is whole, and the next goes on from there."""
    history = await log.everything()
    after = 0
    while not await archive_until_killed(database_url, tmp_path, after):
        assert await log.everything() == history
        after += 1
    assert after > 5  # every step of a range was the last of some process
    await prove_same(log, history)
    async with archivable(database_url) as archived_log:
        assert len(await archived_log.archived()) == len(history) // WIDTH


async def test_a_file_that_is_gone_is_named(log: Log, database_url: str, tmp_path: Path) -> None:
    """Nothing is passed over: the reader hears which file it needs; what needs none goes on."""
    history = await log.everything()
    done = await archive_all(database_url, tmp_path)
    lost = tmp_path / "events-000000000061-000000000120.jsonl.gz"
    lost.rename(tmp_path / "elsewhere")
    async with open_archived(database_url, tmp_path) as fresh:
        assert await fresh.store.read_all(after=0, limit=60) == history[:60]
        assert await fresh.store.read_all(after=120, limit=60) == history[120:180]
        for after, limit in ((60, 1), (0, 61), (100, 50)):
            with pytest.raises(ArchiveUnreadable, match=f"{lost.name} is missing: restore it"):
                await fresh.store.read_all(after=after, limit=limit)
        (tmp_path / "elsewhere").rename(lost)
        assert await fresh.store.read_all(after=0, limit=61) == history[:61]
    assert len(done) > 3


async def test_one_at_a_time(log: Log, database_url: str, tmp_path: Path) -> None:
    """While one archiver works another one is refused, and changes nothing."""
    async with archivable(database_url):
        with pytest.raises(AlreadyArchiving):
            await archive_all(database_url, tmp_path)
    assert await archive_all(database_url, tmp_path)


async def test_a_log_in_use_is_let_be(
    log: Log,
    database_url: str,
    tmp_path: Path,
    admin: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A transaction that reads for long is not waited for for ever, and appends are let through."""
    monkeypatch.setattr(archiving, "LOCK_TIMEOUT", "100ms")
    monkeypatch.setattr(archiving, "TRIES", 2)
    history = await log.everything()
    await admin.execute("BEGIN; SELECT count(*) FROM events")
    with pytest.raises(ConnectionError, match="end long transactions"):
        await archive_all(database_url, tmp_path)
    await log.store.append(item("task-x"))
    await admin.execute("COMMIT")
    assert (await log.everything())[:-1] == history
    assert await archive_all(database_url, tmp_path)
    assert (await log.everything())[:-1] == history


async def test_a_file_that_differs_is_not_trusted(
    log: Log, database_url: str, tmp_path: Path, admin: asyncpg.Connection
) -> None:
    """Had the table changed since it was written, the range stays where it is."""
    changed = False

    def change(what: str, _done: int, _total: int) -> None:
        nonlocal changed
        changed = changed or what.startswith("check")
        if what.startswith("check"):
            data = next(tmp_path.glob("*.jsonl.gz"))
            data.write_bytes(data.read_bytes()[:-40])

    history = await log.everything()
    with pytest.raises(ArchiveUnreadable, match="damaged"):
        await archive_all(database_url, tmp_path, progress=change)
    assert changed
    assert await admin.fetchval("SELECT count(*) FROM archives") == 0
    assert await log.everything() == history


async def test_the_daemon_itself_cannot_archive(log: Log, database_url: str) -> None:
    """Taking ranges out of the log is the administrator's: the daemon's role may not."""
    async with pool(database_url, size=1) as database:
        for call in ("retire_events(1, 60, 'm', 's', '{}')", "extend_log(1000)"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await database.execute(f"SELECT {call}")


async def test_only_the_next_whole_range_can_go(log: Log, admin: asyncpg.Connection) -> None:
    """The database refuses a range out of turn, in part, or one that still grows."""
    for first, last in ((61, 120), (1, 59), (1, 120), (1, 10_000)):
        with pytest.raises(asyncpg.RaiseError):
            await admin.execute("SELECT retire_events($1, $2, 'm', 's', '{}')", first, last)
    assert len(await log.everything()) > WIDTH


async def test_manifests_are_a_chain(log: Log, database_url: str, tmp_path: Path) -> None:
    """Each names the one before it by its hash, and the log names the last."""
    done = await archive_all(database_url, tmp_path)
    archive = FileArchive(tmp_path)
    previous = None
    for one in done:
        assert (await archive.manifest(one.archived)).previous == previous
        previous = one.archived.sha256
    assert task_stream(1) in {e.stream for e in await log.everything()}
