"""The `Outputs` port: agent output in the stream ``PANDAR_OUTPUT``.

A chunk says at which byte it begins. A writer unsure what was stored writes again from there;
readers drop what overlaps. Following is: listen first, read what is stored, then go on with what
is repeated live. Each live message names the sequence of its predecessor on the subject, so a
missed one is known, and read from the stream.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from uuid import UUID

import structlog
from msgspec import Struct
from nats.aio.msg import Msg

from events import subjects
from pandar_daemon.adapters.nats import streams
from pandar_daemon.adapters.nats.buffer import Buffer
from pandar_daemon.adapters.nats.connection import NatsConnection, NoResponders
from pandar_daemon.adapters.nats.jetstream import JetStream, JetStreamRefused, Outgoing
from pandar_daemon.adapters.nats.jetstream_api import PubAck
from pandar_daemon.adapters.nats.listening import Route
from pandar_daemon.adapters.nats.splice import Splice
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import Chunk, OutputKey

log = structlog.get_logger(__name__)

WINDOW = 64
BATCH = 64
"""Messages in one read: at most 4 MiB."""
BUFFER_CHUNKS = 256
PAUSE_SEC = 0.2


class _Stored(Struct, frozen=True, kw_only=True):
    """A chunk with its place in the stream and that of its predecessor on the subject."""

    seq: int
    after: int
    chunk: Chunk


class NatsOutputs:
    """Writes and reads output by one connection."""

    def __init__(
        self,
        connection: NatsConnection,
        *,
        replicas: int = 1,
        max_bytes: int = streams.OUTPUT_MAX_BYTES,
        buffer: int = BUFFER_CHUNKS,
    ) -> None:
        self._connection = connection
        self._js = JetStream(connection)
        self._wanted = streams.output(replicas, max_bytes)
        self._buffer = buffer
        self._checked_at: float | None = None

    async def write(self, key: OutputKey, execution_id: UUID, chunks: Sequence[Chunk]) -> None:
        """Store chunks durably, in order; repeating one already stored is harmless.

        Raises `Unavailable` when the bus is away: some may be stored.
        """
        await self._prepare()
        items = _outgoing(key, execution_id, chunks)
        with self._making_again():
            await self._js.store_all(items, window=WINDOW, stored=_check)

    @contextlib.contextmanager
    def _making_again(self) -> Iterator[None]:
        """Make the stream again at the next use, should it be gone; this one fails."""
        try:
            yield
        except NoResponders:
            log.warning("output.stream_lost", stream=subjects.OUTPUT_STREAM)
            self._checked_at = None
            raise

    async def _prepare(self) -> None:
        """Make the stream or set it right, once for each connection."""
        up_since = self._connection.up_since
        if up_since is None or self._checked_at != up_since:
            await self._js.ensure(self._wanted)
            self._checked_at = up_since

    async def read(self, key: OutputKey, *, start: int = 0) -> AsyncIterator[Chunk]:
        """Iterate over what is stored from byte ``start`` on, without overlap, then end.

        Raises `Unavailable` when the bus is away.
        """
        await self._prepare()
        splice = Splice(start)
        async for stored in self._stored(_subject(key), after=await self._before(key, start)):
            if (chunk := splice.fit(stored.chunk)) is not None:
                yield chunk

    async def size(self, key: OutputKey) -> int:
        """Return the offset after the last byte stored, 0 when there is none.

        Raises `Unavailable` when the bus is away.
        """
        await self._prepare()
        with self._making_again():
            last = await self._js.last(subjects.OUTPUT_STREAM, _subject(key))
        stored = None if last is None else _decode(last)
        return 0 if stored is None else stored.chunk.offset + len(stored.chunk.data)

    @contextlib.asynccontextmanager
    async def follow(
        self, key: OutputKey, *, start: int = 0
    ) -> AsyncIterator[AsyncIterator[Chunk]]:
        """Like `read`, then go on with what arrives; ends only when the caller stops.

        Waits while the bus is away; what was missed meanwhile is read again.
        """
        buffer: Buffer[_Stored | None] = Buffer(self._buffer)

        def arrived(msg: Msg) -> None:
            if (stored := _decode(msg)) is not None:
                buffer.put(stored)

        subject = subjects.live_output(key.project_id, key.task_id, key.attempt)
        route = Route(subject, arrived)
        async with (
            self._connection.listen(route, on_up=lambda: buffer.put(None)),
            contextlib.aclosing(self._follow(key, start, buffer)) as chunks,
        ):
            yield chunks

    async def _follow(
        self, key: OutputKey, start: int, buffer: Buffer[_Stored | None]
    ) -> AsyncGenerator[Chunk, None]:
        splice, seen = Splice(start), -1
        live: _Stored | None = None
        while True:
            if live is None or live.after > seen:
                until = 0 if live is None else live.after
                async for stored in self._refill(key, start, seen, until):
                    seen = stored.seq
                    if (chunk := splice.fit(stored.chunk)) is not None:
                        yield chunk
            if live is not None and live.seq > seen:
                seen = live.seq
                if (chunk := splice.fit(live.chunk)) is not None:
                    yield chunk
            live = await buffer.get()

    async def _refill(
        self, key: OutputKey, start: int, seen: int, until: int
    ) -> AsyncIterator[_Stored]:
        """Iterate over what is stored after ``seen``, trying again while the bus is away.

        Should ``until`` be missing, it is looked for once more: a replica may be late, or the
        retention may have taken it.
        """
        patience = 1
        while True:
            try:
                await self._prepare()
                if seen < 0:
                    seen = await self._before(key, start)
                async for stored in self._stored(_subject(key), after=seen):
                    seen = stored.seq
                    yield stored
            except Unavailable as error:
                log.info("output.waiting", error=str(error))
                await asyncio.sleep(PAUSE_SEC)
                await self._connection.wait_up()
                continue
            if seen >= until or not patience:
                return
            patience -= 1
            await asyncio.sleep(PAUSE_SEC)

    async def _stored(self, subject: str, *, after: int) -> AsyncIterator[_Stored]:
        while True:
            with self._making_again():
                batch = await self._js.direct(
                    subjects.OUTPUT_STREAM, subject, seq=after + 1, batch=BATCH
                )
            for msg in batch:
                after = _sequence(msg)
                if (stored := _decode(msg)) is not None:
                    yield stored
            if len(batch) < BATCH:
                return

    async def _before(self, key: OutputKey, start: int) -> int:
        """Return a sequence after which everything from byte ``start`` on is found.

        Halves the stream until a chunk that begins at or before ``start`` is near its end.
        """
        last = None if start == 0 else await self._js.last(subjects.OUTPUT_STREAM, _subject(key))
        low, high = 0, 0 if last is None else _sequence(last)
        while high - low > BATCH:
            middle = (low + high) // 2
            found = await self._js.direct(
                subjects.OUTPUT_STREAM, _subject(key), seq=middle, batch=1
            )
            stored = _decode(found[0]) if found else None
            if stored is not None and stored.chunk.offset <= start:
                low = stored.seq - 1
            else:
                high = middle
        return low


def _subject(key: OutputKey) -> str:
    return subjects.output(key.project_id, key.task_id, key.attempt)


def _outgoing(key: OutputKey, execution_id: UUID, chunks: Sequence[Chunk]) -> Iterator[Outgoing]:
    for chunk in chunks:
        headers = {
            "Pandar-Offset": str(chunk.offset),
            "Pandar-Execution": str(execution_id),
            # The length too: a chunk repeated longer is another one, and must be stored.
            "Nats-Msg-Id": f"{execution_id}-{chunk.offset}-{len(chunk.data)}",
        }
        yield Outgoing(subject=_subject(key), body=chunk.data, headers=headers)


def _check(ack: PubAck) -> None:
    if ack.error is not None:
        raise JetStreamRefused("output", ack.error)


def _sequence(msg: Msg) -> int:
    return _number(msg, "Nats-Sequence")


def _number(msg: Msg, header: str) -> int:
    value = (msg.headers or {}).get(header, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else -1  # noqa: PLR2004 - 64 bits


def _decode(msg: Msg) -> _Stored | None:
    """Return the chunk a message carries, ``None`` for anything else."""
    offset, seq = _number(msg, "Pandar-Offset"), _sequence(msg)
    if offset < 0 or seq < 1:
        log.warning("output.garbage", subject=msg.subject)
        return None
    after = max(_number(msg, "Nats-Last-Sequence"), 0)
    return _Stored(seq=seq, after=after, chunk=Chunk(offset=offset, data=msg.data))
