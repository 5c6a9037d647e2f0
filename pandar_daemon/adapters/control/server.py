"""Serves control doors. Whoever is inside may be hostile; each box has limits of its own.

* Of one box `CONNECTIONS_MAX` are served at once; the others wait where the kernel keeps them.
* An order must be there, whole, `ORDER_SEC` after its connection; what is no order is hung up on.
* Who reads nothing is hung up on after `READ_SEC`. Who hangs up, or says more, wants nothing more.
* At most `ORDERS_MAX` orders are being worked on; others wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog

from pandar_daemon.adapters.control.messages import (
    HEAD,
    ORDER_MAX,
    PIECE_MAX,
    Piece,
    order_of,
    written,
)
from pandar_daemon.ports import Ending, Order, Orders

log = structlog.get_logger(__name__)

CONNECTIONS_MAX: Final = 64
ORDERS_MAX: Final = 8
ORDER_SEC: Final = 10.0
READ_SEC: Final = 30.0
_BUFFER: Final = 65_536
FAILED: Final = 125
"""The exit code of an order that failed by our own fault."""


class ControlDoors:
    """See `ports.Control`."""

    @asynccontextmanager
    async def serving(self, door: socket.socket, orders: Orders) -> AsyncIterator[None]:
        """See `ports.Control`."""
        served = _Door(door, orders)
        accepting = asyncio.create_task(served.run())
        try:
            yield
        finally:
            accepting.cancel()
            await asyncio.wait({accepting})
            await served.close()


class _Door:
    def __init__(self, door: socket.socket, orders: Orders) -> None:
        self._door = door
        self._orders = orders
        self._places = asyncio.Semaphore(CONNECTIONS_MAX)
        self._working = asyncio.Semaphore(ORDERS_MAX)
        self._served: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Take connections as long as there is a place for them."""
        loop = asyncio.get_running_loop()
        self._door.settimeout(0)
        while True:
            await self._places.acquire()
            try:
                connection, _ = await loop.sock_accept(self._door)
            except OSError as error:  # no descriptor is left, or it was gone before
                log.info("control.unaccepted", error=str(error))
                self._places.release()
                await asyncio.sleep(0.1)
                continue
            except BaseException:
                self._places.release()
                raise
            task = asyncio.create_task(self._serve(connection))
            self._served.add(task)
            task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._served.discard(task)
        self._places.release()

    async def close(self) -> None:
        """Hang up on everybody."""
        self._door.close()
        served = list(self._served)
        for task in served:
            task.cancel()
        await asyncio.gather(*served, return_exceptions=True)

    async def _serve(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=connection, limit=_BUFFER)
        writer.transport.set_write_buffer_limits(0)  # so that what is drained is gone
        try:
            order = await _order(reader)
            if order is not None:
                await self._work(order, reader, _Client(writer))
        except (ConnectionError, TimeoutError):
            pass
        finally:
            writer.transport.abort()

    async def _work(self, order: Order, reader: asyncio.StreamReader, client: _Client) -> None:
        """Do it, unless who ordered it goes away first."""
        work = asyncio.create_task(self._obey(order, client))
        gone = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            if not work.done():
                work.cancel()
            await asyncio.wait({work, gone})
        if not work.cancelled() and work.exception() is None:
            await client.end(work.result())

    async def _obey(self, order: Order, client: _Client) -> Ending:
        async with self._working:
            try:
                return await self._orders(order, client)
            except Exception:
                log.exception("control.failed", tool=order.tool)
                await client.error(b"pandar: this failed by a fault of Pandar's own\n")
                return Ending(exit_code=FAILED)


async def _order(reader: asyncio.StreamReader) -> Order | None:
    """Return what is ordered; ``None`` for whatever else is said, or not said in time."""
    with contextlib.suppress(asyncio.IncompleteReadError, ValueError, TimeoutError):
        async with asyncio.timeout(ORDER_SEC):
            size = int.from_bytes(await reader.readexactly(HEAD), "big")
            if size <= ORDER_MAX:
                return order_of(await reader.readexactly(size))
    return None


class _Client:
    """See `ports.Show`."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def output(self, data: bytes) -> None:
        """See `ports.Show`."""
        for at in range(0, len(data), PIECE_MAX):
            await self._send(Piece(out=data[at : at + PIECE_MAX]))

    async def error(self, data: bytes) -> None:
        """See `ports.Show`."""
        for at in range(0, len(data), PIECE_MAX):
            await self._send(Piece(err=data[at : at + PIECE_MAX]))

    async def file(self, data: bytes) -> None:
        """See `ports.Show`."""
        for at in range(0, len(data), PIECE_MAX):
            await self._send(Piece(file=data[at : at + PIECE_MAX]))

    async def end(self, ending: Ending) -> None:
        """Tell how it ended."""
        if ending.argv is None:
            await self._send(Piece(exit=ending.exit_code))
        else:
            await self._send(Piece(run=ending.argv, env=dict(ending.environment)))

    async def _send(self, piece: Piece) -> None:
        """Send it; in vain to who is gone, or listens no more."""
        if self._writer.is_closing():
            return
        try:
            async with asyncio.timeout(READ_SEC):
                self._writer.write(written(piece))
                await self._writer.drain()
        except (ConnectionError, TimeoutError):
            self._writer.transport.abort()
