"""Output is written once or more, and read without a gap, without an overlap."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from events import subjects
from pandar_daemon.adapters.nats.connection import NatsConnection
from pandar_daemon.adapters.nats.jetstream import JetStream
from pandar_daemon.adapters.nats.outputs import NatsOutputs
from pandar_daemon.adapters.nats.splice import Splice
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import Chunk, OutputKey
from tests.support.bus import PATIENCE_SEC, connected, nats_process, renewal, send_raw

pytestmark = pytest.mark.servers

KEY = OutputKey(project_id=1, task_id=42, attempt=1)
OTHER = OutputKey(project_id=1, task_id=42, attempt=2)
RUN = uuid4()
TEXT = b"".join(b"line %06d\n" % number for number in range(3000))
SIZE = 100


def chunks(first: int, last: int) -> list[Chunk]:
    """Return the chunks of `TEXT` of these numbers."""
    return [
        Chunk(offset=n * SIZE, data=TEXT[n * SIZE : (n + 1) * SIZE]) for n in range(first, last)
    ]


ALL = chunks(0, len(TEXT) // SIZE)


async def joined(output: AsyncIterator[Chunk], *, start: int = 0, end: int | None = None) -> bytes:
    """Return what an iterator gives until byte ``end``, checking that each chunk follows."""
    whole = b""
    async for chunk in output:
        assert chunk.offset == start + len(whole)
        whole += chunk.data
        if end is not None and start + len(whole) >= end:
            break
    return whole


async def drop_stream(connection: NatsConnection) -> None:
    """Lose all output, as a crashed disk would."""
    await JetStream(connection).api(f"STREAM.DELETE.{subjects.OUTPUT_STREAM}", {})


async def test_what_was_written_is_read_from_any_byte_on(nats_url: str) -> None:
    """From the beginning, the middle of a chunk, the end, and beyond it."""
    async with connected(nats_url) as connection:
        outputs = NatsOutputs(connection)
        assert await joined(outputs.read(KEY)) == b""
        await outputs.write(OTHER, uuid4(), [Chunk(offset=0, data=b"another attempt")])
        await outputs.write(KEY, RUN, ALL)
        assert await joined(outputs.read(KEY)) == TEXT
        for start in (1, 99, 100, 12_345, len(TEXT) - 1, len(TEXT), len(TEXT) + 1):
            got = await joined(outputs.read(KEY, start=start), start=start)
            assert got == TEXT[start:]
        assert await joined(outputs.read(OTHER)) == b"another attempt"


async def test_repeated_chunks_are_read_once(nats_url: str) -> None:
    """A writer unsure what was stored repeats it, perhaps cut elsewhere, perhaps much later."""
    async with connected(nats_url) as connection:
        outputs = NatsOutputs(connection)
        await outputs.write(KEY, RUN, chunks(0, 10))
        await outputs.write(KEY, RUN, chunks(5, 10))
        await outputs.write(KEY, uuid4(), chunks(0, 12))
        await outputs.write(KEY, RUN, [Chunk(offset=1100, data=TEXT[1100:1350])])
        assert await joined(outputs.read(KEY)) == TEXT[:1350]
        assert await joined(outputs.read(KEY, start=720), start=720) == TEXT[720:1350]


async def test_a_hole_is_passed(nats_url: str) -> None:
    """What was cut out of the middle is missing; the rest keeps its place."""
    async with connected(nats_url) as connection:
        outputs = NatsOutputs(connection)
        await outputs.write(KEY, RUN, [*chunks(0, 2), *chunks(7, 9)])
        assert [c async for c in outputs.read(KEY)] == [*chunks(0, 2), *chunks(7, 9)]


async def test_following_gives_what_is_there_and_then_what_comes(nats_url: str) -> None:
    """A follower that joins in the middle of the writing misses nothing and repeats nothing."""
    async with connected(nats_url) as connection:
        outputs = NatsOutputs(connection)
        await outputs.write(KEY, RUN, ALL[:100])
        async with asyncio.timeout(PATIENCE_SEC), asyncio.TaskGroup() as group:
            group.create_task(outputs.write(KEY, RUN, ALL[100:]))
            async with outputs.follow(KEY) as one, outputs.follow(KEY, start=4_321) as two:
                assert await joined(one, end=len(TEXT)) == TEXT
                assert await joined(two, start=4_321, end=len(TEXT)) == TEXT[4_321:]


async def test_a_follower_may_come_before_the_output(nats_url: str) -> None:
    """Before the stream, even: it waits and gets the first byte."""
    async with connected(nats_url) as connection:
        outputs = NatsOutputs(connection)
        async with outputs.follow(KEY) as followed, asyncio.timeout(PATIENCE_SEC):
            reading = asyncio.create_task(joined(followed, end=len(TEXT)))
            await outputs.write(KEY, RUN, ALL)
            assert await reading == TEXT


async def test_a_slow_follower_reads_again_what_overflowed(nats_url: str) -> None:
    """Its buffer holds two chunks; the rest comes from the stream."""
    async with connected(nats_url) as connection:
        outputs = NatsOutputs(connection, buffer=2)
        await outputs.write(KEY, RUN, ALL[:1])
        async with outputs.follow(KEY) as followed, asyncio.timeout(PATIENCE_SEC):
            assert await anext(followed) == ALL[0]
            await outputs.write(KEY, RUN, ALL[1:])
            await connection.echo(timeout_sec=PATIENCE_SEC)
            assert [await anext(followed) for _ in ALL[1:]] == ALL[1:]


async def test_garbage_on_the_output_subjects_is_left_out(nats_url: str) -> None:
    """Chunks without an offset, forged live ones, bytes: none is taken for output."""
    async with connected(nats_url) as connection:
        outputs = NatsOutputs(connection)
        subject = subjects.output(KEY.project_id, KEY.task_id, KEY.attempt)
        live = subjects.live_output(KEY.project_id, KEY.task_id, KEY.attempt)
        async with outputs.follow(KEY) as followed, asyncio.timeout(PATIENCE_SEC):
            reading = asyncio.create_task(joined(followed, end=len(TEXT)))
            await outputs.write(KEY, RUN, ALL[:10])
            await connection.publish(live, b"x", {"Pandar-Offset": "1000"})
            await connection.publish(live, b"", {"Status": "503"})
            await connection.publish(subject, b"\xff\xfe")
            await connection.publish(subject, b"x", {"Pandar-Offset": "-5"})
            await send_raw(nats_url, b"PUB pandar.v1.live.out.\xff 2\r\nhi\r\n")
            await outputs.write(KEY, RUN, ALL[10:])
            assert await reading == TEXT
        assert await joined(outputs.read(KEY)) == TEXT


async def test_a_lost_stream_is_made_again(nats_url: str) -> None:
    """A write tells that it failed; the next one finds a stream again."""
    async with connected(nats_url) as connection:
        outputs = NatsOutputs(connection)
        await outputs.write(KEY, RUN, ALL[:10])
        await drop_stream(connection)
        with pytest.raises(Unavailable):
            await outputs.write(KEY, RUN, ALL[10:20])
        await outputs.write(KEY, RUN, ALL)
        assert await joined(outputs.read(KEY)) == TEXT


async def test_a_server_too_small_is_told_in_plain_words(nats_url: str) -> None:
    """A cap the server cannot reserve is an error that names the reason."""
    async with connected(nats_url) as connection:
        outputs = NatsOutputs(connection, max_bytes=2**50)
        with pytest.raises(Unavailable, match="insufficient storage"):
            await outputs.write(KEY, RUN, ALL[:1])


@pytest.mark.fault
async def test_a_server_killed_under_load_loses_nothing_written() -> None:
    """Writer and follower go on after the kill; the follower has every byte once, in order."""
    third = asyncio.Event()

    async def write_all(connection: NatsConnection) -> None:
        outputs, sure = NatsOutputs(connection), 0
        while sure < len(ALL):
            try:
                await outputs.write(KEY, RUN, ALL[sure : sure + 7])
            except Unavailable:
                await connection.wait_up()
                continue
            sure += 7
            if sure >= len(ALL) // 3:
                third.set()

    async with (
        nats_process() as server,
        connected(server.url) as writer,
        connected(server.url) as reader,
        renewal(reader) as renewed,
        NatsOutputs(reader).follow(KEY) as followed,
        asyncio.timeout(PATIENCE_SEC * 2),
        asyncio.TaskGroup() as group,
    ):
        reading = group.create_task(joined(followed, end=len(TEXT)))
        group.create_task(write_all(writer))
        await third.wait()
        await server.kill()
        await server.start()
        await renewed.wait()
        assert await reading == TEXT
        assert await joined(NatsOutputs(reader).read(KEY)) == TEXT


def test_splicing_keeps_the_place() -> None:
    """Whole, overlapping, repeated, empty and distant chunks."""
    splice = Splice(3)
    assert splice.fit(Chunk(offset=0, data=b"012")) is None
    assert splice.fit(Chunk(offset=0, data=b"01234")) == Chunk(offset=3, data=b"34")
    assert splice.fit(Chunk(offset=1, data=b"1234")) is None
    assert splice.fit(Chunk(offset=5, data=b"")) is None
    assert splice.fit(Chunk(offset=9, data=b"9")) == Chunk(offset=9, data=b"9")
    assert splice.offset == 10
