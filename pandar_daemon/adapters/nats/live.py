"""The `Live` port: events as the stream repeats them once they are stored.

Where the relay itself is in this process, it tells those who follow; what the bus would repeat to
them is not asked for meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import anyio
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
    """Follows ``pandar.v1.live.evt.>``, by one subscription for all who follow in this process."""

    def __init__(self, connection: NatsConnection, *, buffer: int = BUFFER_EVENTS) -> None:
        self._connection = connection
        self._buffer = buffer
        self._followers: set[Buffer[Recorded]] = set()
        self._is_led_here = False
        self._turn = asyncio.Lock()
        self._listens = False
        self._listening = contextlib.AsyncExitStack()

    @contextlib.asynccontextmanager
    async def follow(self) -> AsyncIterator[AsyncIterator[Recorded]]:
        """Iterate over events from now on; a gap is for the reader to fill from the log.

        A reader too slow loses the oldest unread. What is not an event is logged and left out.
        """
        buffer: Buffer[Recorded] = Buffer(self._buffer)
        self._followers.add(buffer)
        try:
            await self._attune()
            yield aiter(buffer)
        finally:
            self._followers.discard(buffer)
            with anyio.CancelScope(shield=True):
                await self._attune()
            if buffer.dropped:
                log.warning("live.overflowed", dropped=buffer.dropped)

    @contextlib.asynccontextmanager
    async def led_here(self) -> AsyncIterator[None]:
        """Let those who follow hear what they are told, and nothing from the bus; see `Told`."""
        self._is_led_here = True
        try:
            await self._attune()
            yield
        finally:
            self._is_led_here = False
            with anyio.CancelScope(shield=True):
                await self._attune()

    def tell(self, batch: Sequence[Recorded]) -> None:
        """Let those who follow have events of the log."""
        for buffer in self._followers:
            for recorded in batch:
                buffer.put(recorded)

    async def _attune(self) -> None:
        """Listen to the bus while somebody follows who is not told here, and only then."""
        async with self._turn:
            wanted = bool(self._followers) and not self._is_led_here
            if wanted and not self._listens:
                route = Route(f"{subjects.LIVE_EVENTS}.>", self._arrived)
                await self._listening.enter_async_context(self._connection.listen(route))
                self._listens = True
            elif self._listens and not wanted:
                self._listens = False
                await self._listening.aclose()

    def _arrived(self, msg: Msg) -> None:
        if (recorded := _stored(msg)) is not None:
            self.tell([recorded])


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
