"""The `Live` port: events as the stream repeats them once they are stored."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import structlog
from nats.aio.msg import Msg

from events import subjects
from events.envelope import Recorded
from pandar_daemon.adapters.nats import cloudevents
from pandar_daemon.adapters.nats.buffer import Buffer
from pandar_daemon.adapters.nats.connection import NatsConnection
from pandar_daemon.adapters.nats.listening import Route

log = structlog.get_logger(__name__)

BUFFER_EVENTS = 10_000


class NatsLive:
    """Follows ``pandar.v1.live.evt.>``."""

    def __init__(self, connection: NatsConnection, *, buffer: int = BUFFER_EVENTS) -> None:
        self._connection = connection
        self._buffer = buffer

    @contextlib.asynccontextmanager
    async def follow(self) -> AsyncIterator[AsyncIterator[Recorded]]:
        """Iterate over events from now on; a gap is for the reader to fill from the log.

        A reader too slow loses the oldest unread. What is not an event is logged and left out.
        """
        buffer: Buffer[Recorded] = Buffer(self._buffer)

        def arrived(msg: Msg) -> None:
            if (recorded := _stored(msg)) is not None:
                buffer.put(recorded)

        try:
            async with self._connection.listen(Route(f"{subjects.LIVE_EVENTS}.>", arrived)):
                yield aiter(buffer)
        finally:
            if buffer.dropped:
                log.warning("live.overflowed", dropped=buffer.dropped)


def _stored(msg: Msg) -> Recorded | None:
    """Return the event, if it is one and stands in the stream where its position says."""
    headers = msg.headers or {}
    try:
        recorded = cloudevents.decode(headers, msg.data)
    except cloudevents.NotAnEvent as error:
        log.warning("live.garbage", subject=msg.subject, error=str(error))
        return None
    if headers.get("Nats-Sequence") != str(recorded.position):
        log.warning("live.misplaced", subject=msg.subject, position=recorded.position)
        return None
    return recorded
