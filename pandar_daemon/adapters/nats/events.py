"""The `EventStream` port: the log on JetStream, where the sequence is the position.

Every publish is fenced by ``Nats-Expected-Last-Sequence = position - 1``. So a message whose
acknowledgement got lost may be sent again: it is either stored already (the fence or the
duplicate window says so) or takes exactly its own place; and a second, stale relay is refused.

Where a server of our own keeps the stream lazily, all that is there goes out at once, and two of it
are acknowledged: the last is stored only if all before it are. Elsewhere a few events go out one
after the other, each as soon as it can. Many are stored together, all or none, fenced by the first:
one flush of the server's disk instead of one an event. A server too old for either (before 2.12)
leaves it out of the stream's configuration, and gets them one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain

import msgspec
import structlog

from events import subjects
from events.envelope import Recorded
from pandar_daemon.adapters.nats import cloudevents, streams
from pandar_daemon.adapters.nats.connection import NatsConnection
from pandar_daemon.adapters.nats.jetstream import (
    TOGETHER_MAX,
    JetStream,
    JetStreamRefused,
    Outgoing,
)
from pandar_daemon.adapters.nats.jetstream_api import (
    STREAM_CONFIG_INVALID,
    ApiAnswer,
    PubAck,
    StreamConfig,
)
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import Head, StreamBehind

log = structlog.get_logger(__name__)

WINDOW = 256
TOGETHER_MIN = 16
"""Fewer are quicker one by one: storing together has a cost of its own, of some milliseconds."""
WRONG_LAST_SEQUENCE = 10071
DUPLICATE_IN_BATCH = 10201
BEHIND = (WRONG_LAST_SEQUENCE, DUPLICATE_IN_BATCH)
TOGETHER_MAX_BYTES = 8 * 2**20
_PREFIX = subjects.events_stream(0).removesuffix("0")


class NatsEventStream:
    """The relay's side of ``PANDAR_EVENTS_{epoch}``."""

    def __init__(
        self, connection: NatsConnection, *, replicas: int = 1, lazily: bool = False
    ) -> None:
        """Make streams of so many replicas; with one, they may be kept ``lazily``."""
        self._js = JetStream(connection)
        self._replicas = replicas
        self._lazily = lazily and replicas == 1
        self._stream = ""
        self._in_turn = False
        self._together = False
        self._refuses_after: int | None = None

    @property
    def up_since(self) -> float | None:
        """See `EventStream.up_since`."""
        return self._js.connection.up_since

    async def open(self, epoch: int) -> int:
        """Make or reconcile the stream of this epoch; return its last sequence, 0 when empty.

        The stream of an older epoch is taken off the subjects and keeps its events. Raises
        `Unavailable` when the bus is away, or a newer epoch is open.
        """
        await self._retire_before(epoch)
        made = await self._ensure(partial(streams.events, epoch, self._replicas))
        self._stream = subjects.events_stream(epoch)
        self._in_turn = made.config.persist_mode == "async"
        self._together = made.config.allow_atomic
        self._see_that_it_takes_more(made.state.last_seq)
        return made.state.last_seq

    def _see_that_it_takes_more(self, last: int) -> None:
        """Raise `Unavailable` for a stream that said it ends elsewhere than where it ends.

        So does one whose disk was full when it wrote what it had acknowledged.
        """
        refused, self._refuses_after = self._refuses_after, None
        if refused == last:
            self._js.connection.stalls.missed(subjects.EVENTS)
            msg = f"{self._stream} ends at {last} and takes nothing that follows"
            raise Unavailable(msg)

    async def _ensure(self, wanted: Callable[..., StreamConfig]) -> ApiAnswer:
        """Make a stream as we would have it, or leave it as lazy as it is: that cannot change."""
        try:
            return await self._js.ensure(wanted(lazily=self._lazily))
        except JetStreamRefused as refused:
            if refused.err_code != STREAM_CONFIG_INVALID or self._replicas > 1:
                raise
            try:
                return await self._js.ensure(wanted(lazily=not self._lazily))
            except JetStreamRefused:
                raise refused from None

    async def _retire_before(self, epoch: int) -> None:
        for name in await self._js.names(f"{subjects.EVENTS}.>"):
            held = name.removeprefix(_PREFIX)
            if not held.isascii() or not held.isdigit() or int(held) == epoch:
                continue
            if int(held) > epoch:
                msg = f"epoch {held} of the log is open on the bus, {epoch} is over"
                raise Unavailable(msg)
            log.warning("events.epoch_retired", epoch=int(held), opened=epoch)
            await self._ensure(partial(streams.retired_events, int(held), self._replicas))

    async def last(self) -> int:
        """Return the last sequence of the stream that was opened; raises `Unavailable`."""
        return await self._js.last_sequence(self._stream)

    async def publish(self, batch: Sequence[Recorded]) -> int:
        """Publish dense events in order, each fenced by its predecessor; return the last stored.

        Raises `StreamBehind` when the fence refuses, `Unavailable` when the bus is away; some of
        the batch may be stored then: `open` tells how many.
        """
        last = 0
        for part in _parts(batch):
            if self._in_turn:
                last = await self._publish_in_turn(part)
            elif self._together and len(part) >= TOGETHER_MIN:
                last = await self._publish_together(part)
            else:
                last = await self._publish_each(part)
        return last

    async def _publish_in_turn(self, batch: Sequence[Recorded]) -> int:
        acks = await self._js.store_in_turn([self._fenced(each) for each in batch])
        try:
            _checked(acks[0], batch[0].position)
        except StreamBehind:
            self._refuses_after = batch[0].position - 1
            raise
        return _checked(acks[-1], batch[-1].position)

    async def _publish_together(self, batch: Sequence[Recorded]) -> int:
        """Publish all or nothing; one by one instead if the server refuses for another reason."""
        first, *others = batch
        items = chain([self._fenced(first)], map(self._outgoing, others))
        ack = await self._js.store_together(items, count=len(batch))
        if ack.error is None or ack.error.err_code in BEHIND:
            return _checked(ack, batch[-1].position)
        log.warning("events.not_together", error=ack.error.description, code=ack.error.err_code)
        self._together = False
        return await self._publish_each(batch)

    async def _publish_each(self, batch: Sequence[Recorded]) -> int:
        expected = iter(batch)
        last = 0

        def stored(ack: PubAck) -> None:
            nonlocal last
            last = _checked(ack, next(expected).position)

        await self._js.store_all(map(self._fenced, batch), window=WINDOW, stored=stored)
        return last

    async def position(self, head: Head) -> int:
        """Return the last sequence of a head's stream, 0 without one; raises `Unavailable`."""
        return await self._js.last_sequence(subjects.events_stream(head.epoch))

    async def stored(self, epoch: int, *, after: int, limit: int) -> list[Recorded]:
        """Return events of the stream after a sequence, in order; raises `Unavailable`."""
        stream, subject = subjects.events_stream(epoch), f"{subjects.EVENTS}.>"
        found = await self._js.direct(stream, subject, seq=after + 1, batch=limit)
        return [cloudevents.decode(msg.headers or {}, msg.data) for msg in found]

    def _fenced(self, recorded: Recorded) -> Outgoing:
        item = self._outgoing(recorded)
        fence = {"Nats-Expected-Last-Sequence": str(recorded.position - 1)}
        return msgspec.structs.replace(item, headers={**item.headers, **fence})

    def _outgoing(self, recorded: Recorded) -> Outgoing:
        headers = cloudevents.encode(recorded)
        headers["Nats-Msg-Id"] = str(recorded.event_id)
        headers["Nats-Expected-Stream"] = self._stream
        return Outgoing(
            subject=subjects.event(recorded), body=bytes(recorded.data), headers=headers
        )


def _parts(batch: Sequence[Recorded]) -> Iterator[Sequence[Recorded]]:
    """Cut a batch so that none is more than the server stores together, or we keep unsent."""
    begin, size = 0, 0
    for end, recorded in enumerate(batch):
        size += len(bytes(recorded.data))
        if end > begin and (end - begin == TOGETHER_MAX or size > TOGETHER_MAX_BYTES):
            yield batch[begin:end]
            begin, size = end, len(bytes(recorded.data))
    if begin < len(batch):
        yield batch[begin:]


def _checked(ack: PubAck, position: int) -> int:
    if ack.error is not None:
        if ack.error.err_code in BEHIND:
            msg = f"position {position} does not follow: {ack.error.description}"
            raise StreamBehind(msg)
        raise JetStreamRefused(f"position {position}", ack.error)
    if ack.seq != position:
        msg = f"position {position} is stored as sequence {ack.seq}"
        raise StreamBehind(msg)
    return position
