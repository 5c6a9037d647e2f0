"""An append by itself is judged and stored as one of a batch: both ways, the same to the letter."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import msgspec
import pytest

from pandar_daemon.adapters.postgres.append_statement import statement
from pandar_daemon.ports import Append, Appended, Conflict, Key, Replayed
from tests.support.appending import item, poisoned, said, texts
from tests.support.log import Log, open_log
from tests.support.narrow import narrow, partitions

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers")]

WIDTH = 8
FUNCTIONS = ("append_one", "append_batch")
_ROWS = {
    "log_head": "SELECT position, partitioned_to FROM log_head",
    "streams": "SELECT * FROM streams ORDER BY stream",
    "commands": "SELECT * FROM commands ORDER BY command_id",
    "reservations": "SELECT * FROM reservations",
    "events": """
        SELECT position, stream, version, type, schema_version, actor, project_id, command_id,
            correlation_id, causation_id, traceparent, data
        FROM events ORDER BY position""",
}


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Return a connection as the database's owner, to a log in partitions of 8 events."""
    await narrow(database_url, WIDTH)
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture(params=FUNCTIONS)
def function(request: pytest.FixtureRequest) -> str:
    """Return the function in whose way a test appends."""
    return str(request.param)


@pytest.fixture
async def log(database_url: str, admin: asyncpg.Connection) -> AsyncIterator[Log]:
    """Return a log over a fresh database."""
    async with open_log(database_url) as opened:
        yield opened


def by(function: str, wanted: Append) -> Append:
    """Return an append that goes to a function: with a key to free, all go to the general one."""
    if function == "append_batch":
        wanted = msgspec.structs.replace(wanted, release=(Key("concurrency", "nobody's"),))
    assert function in statement([wanted], []).sql
    return wanted


async def rows(admin: asyncpg.Connection) -> dict[str, list[tuple[object, ...]]]:
    """Return everything an append may have written, but for times and random ids."""
    return {name: [tuple(r) for r in await admin.fetch(sql)] for name, sql in _ROWS.items()}


async def test_what_is_stored(log: Log, admin: asyncpg.Connection, function: str) -> None:
    """Events, their stream, the receipt and the end of the log say what the append said."""
    given = msgspec.structs.replace(
        item("task-1", 0, *said("a", "b")), causation_id="because", traceparent="00-1-2-03"
    )
    assert await log.store.append(by(function, given)) == Appended(position=2, version=2)
    more = item("task-1", 2, *said("ü"), command_id="more")
    assert await log.store.append(by(function, more)) == Appended(position=3, version=3)

    def event(n: int, said_text: str, command: str, *trace: str | None) -> tuple[object, ...]:
        data = f'{{"type":"task.start_requested","reason":"{said_text}"}}'
        kind = ("task.start_requested", 1, "user:1", 1)
        return (n, "task-1", n, *kind, command, "c", *(trace or (None, None)), data)

    trace = ("because", "00-1-2-03")
    assert await rows(admin) == {
        "log_head": [(3, 8)],
        "streams": [("task-1", 3, 1, 3)],
        "commands": [
            ("more", more.request_sha256, "task-1", 3, 3, b'{"id":1}'),
            ("task-1-0", given.request_sha256, "task-1", 2, 2, b'{"id":1}'),
        ],
        "reservations": [],
        "events": [
            event(1, "a", "task-1-0", *trace),
            event(2, "b", "task-1-0", *trace),
            event(3, "ü", "more"),
        ],
    }
    assert len({each.event_id for each in await log.everything()}) == 3


async def test_what_is_refused_leaves_no_trace(
    log: Log, admin: asyncpg.Connection, function: str
) -> None:
    """A stale version and a repeated command change nothing, not even the end of the log."""
    await log.store.append(by(function, item("task-1", 0, *said("a", "b"))))
    before = await rows(admin)
    stale = [item("task-1", n, *said("x"), command_id=f"stale-{n}") for n in (0, 1, 3)]
    for each in (*stale, item("task-2", 1)):
        there = 2 if each.stream == "task-1" else 0
        assert await log.store.append(by(function, each)) == Conflict(there)
    for repeated in (item("task-1", 0), item("task-1", 2, command_id="task-1-0", sha="other")):
        verdict = await log.store.append(by(function, repeated))
        assert isinstance(verdict, Replayed)
        assert (verdict.receipt.position, verdict.receipt.version) == (2, 2)
    with pytest.raises(Exception, match="task-3"):
        await log.store.append(by(function, poisoned("task-3")))
    assert await rows(admin) == before
    assert await log.store.append(by(function, item("task-1", 2))) == Appended(
        position=3, version=3
    )


async def test_a_receipt_without_events(log: Log, admin: asyncpg.Connection, function: str) -> None:
    """Nothing to do is remembered at the end of the stream, or at 0 of one that is not there."""
    await log.store.append(by(function, item("task-1")))
    await log.store.append(by(function, item("task-2")))
    before = await rows(admin)
    for stream, end in (("task-1", 1), ("task-9", 0)):
        idle = msgspec.structs.replace(item(stream, end, command_id=f"idle {end}"), events=())
        assert await log.store.append(by(function, idle)) == Appended(position=end, version=end)
        (receipt,) = await log.store.receipts([idle.command_id])
        assert (receipt.stream, receipt.position, receipt.version) == (stream, end, end)
    after = await rows(admin)
    assert after | {"commands": before["commands"]} == before


async def test_partitions_are_made_in_time(
    log: Log, admin: asyncpg.Connection, function: str
) -> None:
    """In its last quarter a partition gets a successor, and one append may need several."""
    made = []
    for n in range(WIDTH):
        await log.store.append(by(function, item(f"task-{n}")))
        made.append((await partitions(admin))[-1].last)
    assert made == [8] * 6 + [16] * 2
    many = said(*map(str, range(2 * WIDTH)))
    assert await log.store.append(by(function, item("task-x", 0, *many))) == Appended(
        position=24, version=16
    )
    assert texts(await log.store.read_stream("task-x")) == [str(n) for n in range(2 * WIDTH)]
