"""Many clients of the event stream in one process, each no more than a socket and a pattern."""

from __future__ import annotations

import asyncio
import re
import time
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import lru_cache

from msgspec import Struct

from bench.distribution import Distribution

_MESSAGE = re.compile(rb'id: (\d+)\nevent: [^\n]+\ndata: [^\n]*?"recorded_at":"([^"]+)"[^\n]*\n\n')
RETRY_SEC = 1.0
"""What the stream itself asks for."""
_AT_ONCE = 50


class Seat(Struct, frozen=True):
    """Who listens to which project."""

    project_id: int
    token: str


class Client(asyncio.Protocol):
    """Reads one stream and remembers which positions came, in the order in which they came.

    When the stream breaks it comes back after a second with the last id it has, as a browser does.
    """

    def __init__(self, port: int, seat: Seat, since: int, taken: Distribution) -> None:
        self.project_id = seat.project_id
        self.positions = array("q")
        self.broken = 0
        self._port = port
        self._token = seat.token
        self._since = since
        self._taken = taken
        self._accepted: asyncio.Future[str] | None = None
        self._transport: asyncio.Transport | None = None
        self._back: asyncio.Task[None] | None = None
        self._left = False
        self._rest = b""

    async def connect(self) -> None:
        """Return once the stream is there; raises ``RuntimeError`` when it is refused."""
        loop = asyncio.get_running_loop()
        self._rest, self._accepted = b"", loop.create_future()
        await loop.create_connection(lambda: self, "127.0.0.1", self._port)
        if " 200 " not in (line := await self._accepted):
            raise RuntimeError(f"a client was turned away: {line}")

    def leave(self) -> None:
        """Break the connection off for good."""
        self._left = True
        if self._transport is not None:
            self._transport.abort()
        if self._back is not None:
            self._back.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the events of the project after the last one that came."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a client reads and writes")
        self._transport = transport
        last = self.positions[-1] if self.positions else self._since
        transport.write(
            f"GET /api/v1/events?project_id={self.project_id} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {self._token}\r\nLast-Event-ID: {last}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Take note of whole events; a part waits for the rest of it."""
        now = time.time()
        self._rest += data
        if self._accepted is not None and not self._accepted.done():
            self._accept(self._accepted)
        end = 0
        for message in _MESSAGE.finditer(self._rest):
            self.positions.append(int(message[1]))
            self._taken.add(now - _seconds(message[2]))
            end = message.end()
        self._rest = self._rest[end:]

    def _accept(self, accepted: asyncio.Future[str]) -> None:
        head, whole, _ = self._rest.partition(b"\r\n\r\n")
        if whole:
            accepted.set_result(head.partition(b"\r\n")[0].decode())

    def connection_lost(self, exc: Exception | None) -> None:
        """Come back, unless it was we who left."""
        if self._accepted is not None and not self._accepted.done():
            self._accepted.set_exception(exc or ConnectionResetError())
        elif not self._left:
            self.broken += 1
            self._back = asyncio.ensure_future(self._come_back())

    async def _come_back(self) -> None:
        while not self._left:
            await asyncio.sleep(RETRY_SEC)
            with suppress(OSError, RuntimeError):
                await self.connect()
                return


@lru_cache(maxsize=4096)
def _seconds(instant: bytes) -> float:
    return datetime.fromisoformat(instant.decode()).timestamp()


class Audience:
    """All clients, and how long after its recording each event came to each of them."""

    def __init__(self) -> None:
        self.clients: list[Client] = []
        self.taken = Distribution()

    async def seat(self, port: int, since: int, seats: Iterable[Seat]) -> None:
        """Connect clients who want all events after a position; return when all are listening."""
        turn = asyncio.Semaphore(_AT_ONCE)
        self.clients = [Client(port, seat, since, self.taken) for seat in seats]

        async def connect(client: Client) -> None:
            async with turn:
                await client.connect()

        async with asyncio.TaskGroup() as group:
            for client in self.clients:
                group.create_task(connect(client))

    def leave(self) -> None:
        """Break all connections off."""
        for client in self.clients:
            client.leave()

    def heard(self) -> int:
        """Return how many events came, counted once for each client."""
        return sum(len(client.positions) for client in self.clients)

    def broken(self) -> int:
        """Return how often a stream broke."""
        return sum(client.broken for client in self.clients)

    def served(self, log: Mapping[int, list[int]]) -> int:
        """Return how many clients got every event of their project, once each and in order."""
        return sum(list(client.positions) == log[client.project_id] for client in self.clients)


@contextmanager
def audience() -> Iterator[Audience]:
    """Yield an audience without clients; those who came are sent home after."""
    made = Audience()
    try:
        yield made
    finally:
        made.leave()
