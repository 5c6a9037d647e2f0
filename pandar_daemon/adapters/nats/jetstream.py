"""The part of the JetStream API we use, as plain JSON.

nats-py's own objects forget fields they do not know, its asynchronous publishing never resolves
after a server's crash, and it has no Direct Get of more than one message.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec
import structlog
from msgspec import Struct
from nats.aio.msg import Msg

from pandar_daemon.adapters.nats.connection import NatsConnection, NoResponders, status_of
from pandar_daemon.adapters.nats.jetstream_api import (
    API,
    STREAM_NAME_IN_USE,
    STREAM_NOT_FOUND,
    ApiAnswer,
    ApiError,
    ConsumerConfig,
    PubAck,
    StreamConfig,
)
from pandar_daemon.domain.refusals import Unavailable

log = structlog.get_logger(__name__)

T = TypeVar("T")

API_SEC = 5.0
ACK_SEC = 5.0
"""How long a stored message may take to be acknowledged."""
TOGETHER_MAX = 1_000
"""Messages the server stores together."""
BREATH = 64
"""After so many messages handed to the connection, others have their turn."""


class Outgoing(Struct, frozen=True, kw_only=True):
    """A message to be stored."""

    subject: str
    body: bytes
    headers: Mapping[str, str]


class JetStreamRefused(Unavailable):
    """JetStream understood a request and refused it; ``err_code`` says why."""

    def __init__(self, what: str, error: ApiError) -> None:
        super().__init__(f"{what}: {error.description} ({error.err_code})")
        self.err_code = error.err_code


class JetStream:
    """Every failure is `Unavailable`: `JetStreamRefused` when the server told its reason."""

    def __init__(self, connection: NatsConnection) -> None:
        self.connection = connection

    async def api(self, name: str, body: object) -> ApiAnswer:
        """Return the answer of ``$JS.API.{name}``."""
        encoded = msgspec.json.encode(body)
        reply = await self.connection.request(f"{API}.{name}", encoded, timeout_sec=API_SEC)
        answer = _decode(reply, ApiAnswer)
        if answer.error is not None:
            raise JetStreamRefused(name, answer.error)
        return answer

    async def ensure(self, wanted: StreamConfig) -> ApiAnswer:
        """Make the stream, or bring it to exactly this configuration; return what it is then."""
        try:
            return await self.api(f"STREAM.CREATE.{wanted.name}", wanted)
        except JetStreamRefused as refused:
            if refused.err_code != STREAM_NAME_IN_USE:
                raise
        log.info("stream.reconfigured", stream=wanted.name)
        return await self.api(f"STREAM.UPDATE.{wanted.name}", wanted)

    async def names(self, subject: str) -> list[str]:
        """Return the streams that store a subject."""
        return (await self.api("STREAM.NAMES", {"subject": subject})).streams or []

    async def last_sequence(self, stream: str) -> int:
        """Return the last sequence of a stream, 0 when there is no such stream."""
        try:
            return (await self.api(f"STREAM.INFO.{stream}", {})).state.last_seq
        except JetStreamRefused as refused:
            if refused.err_code != STREAM_NOT_FOUND:
                raise
        return 0

    async def ensure_consumer(self, stream: str, wanted: ConsumerConfig) -> None:
        """Make the durable consumer, or bring it to exactly this configuration."""
        name = f"CONSUMER.DURABLE.CREATE.{stream}.{wanted.durable_name}"
        await self.api(name, {"stream_name": stream, "config": wanted})

    async def store(self, item: Outgoing) -> PubAck:
        """Store one message; the acknowledgement's error, if any, is for the caller."""
        began = self.connection.up_since
        try:
            reply = await self.connection.request(
                item.subject, item.body, item.headers, timeout_sec=ACK_SEC
            )
        except NoResponders:
            raise
        except Unavailable:
            if began is not None and self.connection.up_since == began:
                self.connection.stalls.missed(item.subject)
            raise
        return self._judged(item.subject, reply)

    async def store_together(self, items: Iterable[Outgoing], *, count: int) -> PubAck:
        """Store messages in order, all of them or none; the acknowledgement is that of the last.

        Of one stream that has ``allow_atomic``, at most `TOGETHER_MAX`. An error in the
        acknowledgement is for the caller; raises `Unavailable` without one: all or none may be
        stored then.
        """
        batch = self.connection.clock.new_id().hex
        for nth, item in enumerate(items, 1):
            headers = {**item.headers, "Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(nth)}
            if nth == count:
                headers["Nats-Batch-Commit"] = "1"
                return await self.store(msgspec.structs.replace(item, headers=headers))
            await self.connection.publish(item.subject, item.body, headers)
            if nth % BREATH == 0:
                await asyncio.sleep(0)
        msg = f"fewer than {count} items"
        raise ValueError(msg)

    async def store_in_turn(self, items: Sequence[Outgoing]) -> list[PubAck]:
        """Store messages each of which is fenced by the one before it; return what became of two.

        Those are the first, whose error tells what is the matter, and the last, which is stored
        only if all are. Raises `Unavailable` without an answer: some may be stored then.
        """
        flying: list[tuple[str, asyncio.Future[Msg]]] = []
        try:
            for nth, item in enumerate(items, 1):
                if nth in {1, len(items)}:
                    sent = await self.connection.begin(item.subject, item.body, item.headers)
                    flying.append((item.subject, sent))
                else:
                    await self.connection.publish(item.subject, item.body, item.headers)
                if nth % BREATH == 0:
                    await asyncio.sleep(0)
            return [await self._acknowledged(*each) for each in flying]
        finally:
            for _, future in flying:
                future.cancel()

    async def store_all(
        self, items: Iterable[Outgoing], *, window: int, stored: Callable[[PubAck], None]
    ) -> None:
        """Store messages in order, at most ``window`` unacknowledged; ``stored`` sees each ack.

        Stops at the first exception, that of ``stored`` included: some may be stored then.
        """
        flying: deque[tuple[str, asyncio.Future[Msg]]] = deque()
        try:
            for item in items:
                if len(flying) >= window:
                    stored(await self._acknowledged(*flying.popleft()))
                sent = await self.connection.begin(item.subject, item.body, item.headers)
                flying.append((item.subject, sent))
            while flying:
                stored(await self._acknowledged(*flying.popleft()))
        finally:
            for _, future in flying:
                future.cancel()

    async def _acknowledged(self, subject: str, flying: asyncio.Future[Msg]) -> PubAck:
        try:
            async with asyncio.timeout(ACK_SEC):
                reply = await flying
        except TimeoutError:  # a lost connection would have failed it: the server is there
            self.connection.stalls.missed(subject)
            raise Unavailable("JetStream does not acknowledge; some may be stored") from None
        if status_of(reply) == "503":
            raise NoResponders("no stream takes this subject now")
        return self._judged(subject, reply)

    def _judged(self, subject: str, reply: Msg) -> PubAck:
        ack = _decode(reply, PubAck)
        if ack.error is None:
            self.connection.stalls.stored(subject)
        return ack

    async def direct(self, stream: str, subject: str, *, seq: int, batch: int) -> list[Msg]:
        """Return at most ``batch`` stored messages of a subject from a sequence on, in order."""
        body = msgspec.json.encode({"seq": max(seq, 1), "next_by_subj": subject, "batch": batch})
        answers = await self.connection.collect(
            f"{API}.DIRECT.GET.{stream}", body, is_last=_ends_batch, timeout_sec=API_SEC
        )
        if status_of(answers[-1]) == "503":
            raise NoResponders(f"the stream {stream} is away")
        return answers[:-1]

    async def last(self, stream: str, subject: str) -> Msg | None:
        """Return the last stored message of a subject."""
        body = msgspec.json.encode({"last_by_subj": subject})
        name = f"{API}.DIRECT.GET.{stream}"
        msg = await self.connection.request(name, body, timeout_sec=API_SEC)
        return None if status_of(msg) else msg


def _ends_batch(msg: Msg) -> bool:
    """Tell whether this ends a batch: 204 at its end, 404 for nothing, 408 or 503 for a failure."""
    return status_of(msg) != ""


def _decode(reply: Msg, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(reply.data, type=kind)
    except msgspec.MsgspecError as error:
        raise Unavailable("JetStream answered what we cannot read") from error
