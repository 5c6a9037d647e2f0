"""The contract of the log, against a real Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import msgspec
import pytest

from events.task import StartRequested
from pandar_daemon.ports import Appended, AppendFailed, Conflict, Head, Key, KeyTaken, Replayed
from tests.support.appending import (
    Once,
    item,
    poisoned,
    run_process,
    said,
    texts,
)
from tests.support.log import Log, open_log

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers")]


@pytest.fixture
async def log(database_url: str) -> AsyncIterator[Log]:
    """Return a log over a fresh database."""
    async with open_log(database_url) as opened:
        yield opened


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Return a connection as the database's owner."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def test_what_is_appended_is_read_back(log: Log) -> None:
    """Every part of an append stands in its envelopes, position and version counting on."""
    assert await log.store.append(item("task-1", 0, *said("a", "b"))) == Appended(
        position=2, version=2
    )
    assert await log.store.append(item("task-2", 0, *said("c"))) == Appended(position=3, version=1)
    first, second, other = await log.everything()
    assert [each.position for each in (first, second, other)] == [1, 2, 3]
    assert [(each.stream, each.version) for each in (first, second, other)] == [
        ("task-1", 1),
        ("task-1", 2),
        ("task-2", 1),
    ]
    assert (first.type, first.schema_version, first.actor) == ("task.start_requested", 1, "user:1")
    assert (first.project_id, first.command_id, first.correlation_id) == (1, "task-1-0", "c")
    assert bytes(first.data) == b'{"type":"task.start_requested","reason":"a"}'
    assert first.event_id.version == 7
    assert first.recorded_at.tzinfo is not None
    assert await log.store.head() == Head(3, 1)


async def test_a_stale_version_is_reported(log: Log) -> None:
    """Another version than expected is a `Conflict` with the real one, and appends nothing."""
    assert await log.store.append(item("task-1", 1)) == Conflict(0)
    await log.store.append(item("task-1", 0, *said("a", "b")))
    for version in (0, 1, 3):
        stale = item("task-1", version, command_id=f"stale-{version}")
        assert await log.store.append(stale) == Conflict(2)
        assert await log.store.receipts([stale.command_id]) == []
    assert texts(await log.everything()) == ["a", "b"]


async def test_an_append_without_events_keeps_the_receipt(log: Log) -> None:
    """A command with nothing to do has an answer for ever too, at the end of its stream."""
    await log.store.append(item("task-1", 0, *said("a")))
    await log.store.append(item("task-2", 0, *said("b")))
    idle = msgspec.structs.replace(item("task-1", 1, command_id="idle"), events=())
    assert await log.store.append(idle) == Appended(position=1, version=1)
    assert (await log.store.head()).position == 2
    (receipt,) = await log.store.receipts(["idle"])
    assert (receipt.stream, receipt.position, receipt.version) == ("task-1", 1, 1)
    assert receipt.answer == idle.answer
    assert isinstance(await log.store.append(idle), Replayed)


async def test_many_at_once_share_commits(log: Log, admin: asyncpg.Connection) -> None:
    """Appends that queued while a commit was flushing go into the next one together."""
    async with asyncio.TaskGroup() as group:
        for n in range(300):
            group.create_task(log.store.append(item(f"task-{n}")))
    commits = await admin.fetchval("SELECT count(DISTINCT xmin::text) FROM events")
    assert commits <= 10
    assert [each.position for each in await log.everything()] == list(range(1, 301))


async def test_one_process_may_race_itself(log: Log) -> None:
    """Of items queued for the same version of a stream one is appended, the others hear so."""
    queued = [item("task-1", 0, *said(str(n)), command_id=f"c-{n}") for n in range(20)]
    verdicts = await asyncio.gather(*map(log.store.append, queued))
    assert verdicts == [Appended(position=1, version=1), *[Conflict(1)] * 19]
    assert texts(await log.everything()) == ["0"]


# --- poisoned items --------------------------------------------------------------------------


@pytest.mark.parametrize("where", [0, 7, 14])
async def test_a_poisoned_item_fails_alone(log: Log, where: int) -> None:
    """What the store cannot hold is refused by itself, its neighbours in the batch are stored."""
    items = [item(f"task-{n}") for n in range(15)]
    items[where] = poisoned(f"task-{where}")
    verdicts = await asyncio.gather(*map(log.store.append, items), return_exceptions=True)
    failed = [n for n, verdict in enumerate(verdicts) if isinstance(verdict, AppendFailed)]
    assert failed == [where]
    assert sum(isinstance(verdict, Appended) for verdict in verdicts) == 14
    assert [each.position for each in await log.everything()] == list(range(1, 15))
    assert await log.store.receipts([items[where].command_id]) == []


async def test_every_kind_of_poison(log: Log) -> None:
    """Lone surrogates, numbers too large and times too far are refused, and change nothing."""
    good = item("task-1")
    bad = [
        msgspec.structs.replace(good, command_id="b1", events=(StartRequested(reason="\ud800"),)),
        msgspec.structs.replace(good, command_id="b2", project_id=2**63),
        msgspec.structs.replace(good, command_id="b3", expected_version=2**31),
        msgspec.structs.replace(good, command_id="b4\0"),
    ]
    for item_ in bad:
        with pytest.raises(AppendFailed, match="task-1"):
            await log.store.append(item_)
    assert await log.store.append(good) == Appended(position=1, version=1)


async def test_nul_in_an_event_is_kept(log: Log) -> None:
    """In JSON a NUL is an escape like any other: it can be recorded and read."""
    await log.store.append(item("task-1", 0, *said("a\0b")))
    assert texts(await log.everything()) == ["a\0b"]


# --- one answer per command id ---------------------------------------------------------------


async def test_a_command_is_answered_once(log: Log, database_url: str) -> None:
    """The same command from another process gets the first receipt, and appends nothing."""
    await log.store.append(item("task-9", 0))
    first = await log.store.append(item("task-1", 0, command_id="again"))
    assert first == Appended(position=2, version=1)
    out = await run_process(database_url, "task-1", "again", "request")
    receipt = msgspec.json.decode(out, type=Once).replayed
    assert receipt is not None
    assert [receipt] == await log.store.receipts(["never", "again"])
    assert (receipt.stream, receipt.position, receipt.version) == ("task-1", 2, 1)
    assert receipt.answer == b'{"id":1}'
    assert (await log.store.head()).position == 2


async def test_another_request_under_its_id_is_told_apart(log: Log, database_url: str) -> None:
    """Whoever reuses a command id gets the first receipt, whose hash is not theirs."""
    mine = item("task-1", 0, command_id="again")
    await log.store.append(mine)
    out = await run_process(database_url, "task-2", "again", "something else")
    receipt = msgspec.json.decode(out, type=Once).replayed
    assert receipt is not None
    assert receipt.stream == "task-1"
    assert receipt.request_sha256 == mine.request_sha256
    theirs = item("task-2", 0, command_id="again", sha="something else")
    assert theirs.request_sha256 != receipt.request_sha256


async def test_a_command_raced_by_two_processes_is_one(log: Log, database_url: str) -> None:
    """Of two processes with the same command at the same version one appends, one is told."""
    async with open_log(database_url) as other:
        for n in range(20):
            raced = item(f"task-{n}", 0, command_id=f"c-{n}")
            verdicts = await asyncio.gather(log.store.append(raced), other.store.append(raced))
            assert {type(verdict) for verdict in verdicts} == {Appended, Replayed}
    assert len(await log.everything()) == 20


async def test_a_receipt_of_nothing(log: Log) -> None:
    """A command nobody sent has none."""
    assert await log.store.receipts(["never"]) == []


# --- set constraints -------------------------------------------------------------------------

KEY = Key("concurrency", "1:db")


async def test_a_key_has_one_holder(log: Log) -> None:
    """Another stream is refused the key until its holder gives it back."""
    await log.store.append(item("task-1", 0, reserve=(KEY,)))
    wanted = item("task-2", 0, reserve=(Key("confirmation", "2"), KEY))
    assert await log.store.append(wanted) == KeyTaken(KEY)
    assert await log.store.append(item("task-3", 0, release=(KEY,))) == Appended(
        position=2, version=1
    )
    assert await log.store.append(wanted) == KeyTaken(KEY)
    await log.store.append(item("task-1", 1, release=(KEY,)))
    assert await log.store.append(wanted) == Appended(position=4, version=1)
    assert len(await log.store.read_stream("task-2")) == 1


async def test_twenty_race_for_a_key(log: Log, database_url: str) -> None:
    """Of twenty streams in two processes that want the same key one gets it, the others hear so."""
    async with open_log(database_url) as other:
        verdicts = await asyncio.gather(
            *(
                (log, other)[n % 2].store.append(item(f"task-{n}", 0, reserve=(KEY,)))
                for n in range(20)
            )
        )
    assert (
        sorted(type(verdict).__name__ for verdict in verdicts) == ["Appended"] + ["KeyTaken"] * 19
    )
    assert len(await log.everything()) == 1


async def test_a_key_needs_the_append(log: Log) -> None:
    """What is refused for its version neither takes a key nor frees one."""
    await log.store.append(item("task-1", 0, reserve=(KEY,)))
    stale = item("task-1", 0, command_id="stale", release=(KEY,))
    assert await log.store.append(stale) == Conflict(1)
    assert await log.store.append(item("task-2", 0, reserve=(KEY,))) == KeyTaken(KEY)


# --- reading ---------------------------------------------------------------------------------


async def test_reading_up_to_a_position(log: Log) -> None:
    """A stream can be read as it was at any position of the log, and from any version on."""
    for n in range(3):
        await log.store.append(item("task-1", n, *said(f"a{n}")))
        await log.store.append(item("task-2", n, *said(f"b{n}")))
    read = log.store.read_stream
    assert texts(await read("task-1", up_to=4)) == ["a0", "a1"]
    assert texts(await read("task-1", up_to=5)) == ["a0", "a1", "a2"]
    assert texts(await read("task-1", up_to=0)) == []
    assert texts(await read("task-1", after_version=1)) == ["a1", "a2"]
    assert texts(await read("task-1", after_version=1, up_to=4)) == ["a1"]
    assert texts(await read("task-7")) == []
    assert texts(await log.store.read_all(after=2, limit=3)) == ["a1", "b1", "a2"]
    assert texts(await log.store.read_all(after=6, limit=3)) == []


async def test_reading_up_to_a_time(log: Log) -> None:
    """A stream can be read as it was at any time, inclusive."""
    await log.store.append(item("task-1", 0, *said("a", "b")))
    await log.store.append(item("task-1", 2, *said("c")))
    _, second, third = await log.everything()
    read = log.store.read_stream
    assert texts(await read("task-1", up_to=second.recorded_at)) == ["a", "b"]
    assert texts(await read("task-1", up_to=third.recorded_at)) == ["a", "b", "c"]
    before = second.recorded_at - timedelta(days=1)
    assert texts(await read("task-1", up_to=before)) == []


async def test_times_follow_positions(log: Log) -> None:
    """Within one commit too, what comes later in the log was not recorded earlier."""
    await asyncio.gather(*(log.store.append(item(f"task-{n}")) for n in range(200)))
    times = [each.recorded_at for each in await log.everything()]
    assert times == sorted(times)


async def test_a_clock_set_back_leaves_no_hole(log: Log, admin: asyncpg.Connection) -> None:
    """Whatever the clock did, a moment of a stream is its beginning, never a part without it."""
    for n in range(3):
        await log.store.append(item("task-1", n, *said(str(n))))
    shift = "UPDATE events SET recorded_at = recorded_at + interval '1 hour' WHERE version = 2"
    await admin.execute(shift)
    _, _, third = await log.everything()
    assert texts(await log.store.read_stream("task-1", up_to=third.recorded_at)) == ["0"]
