"""The `Wire` port: core NATS, at most once."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import structlog

from pandar_daemon.adapters.nats.buffer import Buffer
from pandar_daemon.adapters.nats.connection import NatsConnection
from pandar_daemon.adapters.nats.listening import Route
from pandar_daemon.adapters.nats.messages import message
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import Headers, Message

log = structlog.get_logger(__name__)

BUFFER_MESSAGES = 4_096
RTT_SEC = 1.0


class NatsWire:
    """Hints and signals, by one connection."""

    def __init__(self, connection: NatsConnection, *, buffer: int = BUFFER_MESSAGES) -> None:
        self._connection = connection
        self._buffer = buffer

    async def publish(self, subject: str, body: bytes, headers: Headers | None = None) -> None:
        """Send without promise; silently dropped while the bus is away.

        Raises `TooLarge` and ``ValueError`` for what could never be sent.
        """
        try:
            await self._connection.publish(subject, body, headers)
        except Unavailable:
            log.debug("message.dropped", subject=subject)

    @contextlib.asynccontextmanager
    async def subscribe(self, subject: str) -> AsyncIterator[AsyncIterator[Message]]:
        """Iterate over messages from now on; on overflow the oldest unread are dropped."""
        buffer: Buffer[Message] = Buffer(self._buffer)
        route = Route(subject, lambda msg: buffer.put(message(msg)))
        try:
            async with self._connection.listen(route):
                yield aiter(buffer)
        finally:
            if buffer.dropped:
                log.warning("subscription.overflowed", subject=subject, dropped=buffer.dropped)

    async def rtt(self) -> float:
        """Return the round-trip time in seconds; raises `Unavailable` when the bus is away."""
        return await self._connection.echo(timeout_sec=RTT_SEC)

    @property
    def up_since(self) -> float | None:
        """Return the boottime at which the present connection was made, ``None`` while away."""
        return self._connection.up_since
