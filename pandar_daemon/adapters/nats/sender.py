"""The `Sender` port: a question and its answer on core NATS."""

from __future__ import annotations

from pandar_daemon.adapters.nats.connection import NatsConnection
from pandar_daemon.adapters.nats.messages import granted, message
from pandar_daemon.ports import Headers


class NatsSender:
    """Asks the daemon over one connection."""

    def __init__(self, connection: NatsConnection) -> None:
        self._connection = connection

    async def ask(
        self, subject: str, body: bytes, *, headers: Headers | None = None, timeout_sec: float = 5.0
    ) -> bytes:
        """Return the answer's body.

        Raises the `Refusal` the other side answered with; `Unavailable` at once when nobody
        listens or the connection is lost, else when no answer came in time; `TooLarge` for a
        request the bus cannot carry.
        """
        answer = await self._connection.request(subject, body, headers, timeout_sec=timeout_sec)
        return granted(message(answer))
