"""One side of a connection that speaks HTTP/1.1: bytes in and out of h11, with time limits.

h11 reads and frames every message anew, so that no two sides can disagree where one ends.
"""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from http import HTTPStatus
from typing import Final

import h11

from pandar_daemon.adapters.egress.bounds import CHUNK, Bounds
from pandar_daemon.adapters.egress.refused import REASON_HEADER, Refused, malformed

Event = (
    h11.Request
    | h11.InformationalResponse
    | h11.Response
    | h11.Data
    | h11.EndOfMessage
    | h11.ConnectionClosed
)
_LINGER_BYTES: Final = 2**20
_MAY_ANSWER: Final = frozenset({h11.IDLE, h11.SEND_RESPONSE})


class Peer:
    """A client of ours (``h11.SERVER`` is our role) or a server we are a client of."""

    def __init__(
        self,
        reader: StreamReader,
        writer: StreamWriter,
        role: type[h11.CLIENT | h11.SERVER],
        bounds: Bounds,
    ) -> None:
        self.reader, self.writer, self.bounds = reader, writer, bounds
        self._http = h11.Connection(role, max_incomplete_event_size=bounds.header_bytes)
        self._heard = False
        self._is_head = False

    async def request(self, within_sec: float) -> h11.Request | None:
        """Return the next request, ``None`` when no more comes; raises `Refused`."""
        self._heard = bool(self._http.trailing_data[0])
        try:
            async with asyncio.timeout(within_sec):
                event = await self._next()
        except TimeoutError:
            if not self._heard:
                return None
            text = f"the head of the request did not come within {within_sec:g} s"
            raise Refused(HTTPStatus.REQUEST_TIMEOUT, "late", text) from None
        except h11.RemoteProtocolError as error:
            raise _refusal(error) from error
        if not isinstance(event, h11.Request):
            return None
        self._is_head = event.method == b"HEAD"
        return event

    async def next(self) -> Event:
        """Return what comes next of a message.

        Raises ``TimeoutError`` after ``idle_sec`` of silence, `h11.RemoteProtocolError`,
        ``OSError``.
        """
        async with asyncio.timeout(self.bounds.idle_sec):
            return await self._next()

    async def send(self, event: Event) -> None:
        """Send a part of a message; raises ``TimeoutError`` when it is not taken, ``OSError``."""
        data = self._http.send(event)
        if data:
            self.writer.write(data)
            async with asyncio.timeout(self.bounds.idle_sec):
                await self.writer.drain()

    async def gone(self) -> None:
        """Return when the other side has left; what it says meanwhile is kept up to a limit."""
        kept = len(self._http.trailing_data[0])
        while kept <= self.bounds.header_bytes:
            data = await self.reader.read(CHUNK)
            if not data:
                return
            self._http.receive_data(data)
            kept += len(data)
        await asyncio.get_running_loop().create_future()

    def again(self) -> bool:
        """Return whether another request may follow, and be ready for it."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            return True
        return False

    def switched(self) -> bytes:
        """Return what came after a request that ends the talk in HTTP."""
        return self._http.trailing_data[0]

    async def refuse(self, refused: Refused) -> None:
        """Tell that a request is refused, if something else was not told already; then close."""
        if self._http.our_state in _MAY_ANSWER:
            body = f"Pandar: {refused.text}\n".encode()
            headers = [
                ("Content-Type", "text/plain; charset=utf-8"),
                ("Content-Length", str(len(body))),
                (REASON_HEADER, refused.reason),
                ("Connection", "close"),
            ]
            status = refused.status
            head = h11.Response(status_code=status, reason=status.phrase, headers=headers)
            await self.send(head)
            if not self._is_head:
                await self.send(h11.Data(data=body))
            await self.send(h11.EndOfMessage())
            await self._linger()
        else:
            self.abort()

    async def finish(self) -> None:
        """Close after an answer; a request that goes on nevertheless is not read further."""
        if self._http.their_state is h11.SEND_BODY:
            await self._linger()

    def abort(self) -> None:
        """Close at once: the other side sees that something is missing."""
        self.writer.transport.abort()

    async def _linger(self) -> None:
        """Read what is still on its way: to close before would throw our answer away, too."""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(self.bounds.linger_sec):
                self.writer.write_eof()
                left = _LINGER_BYTES
                while left > 0 and (data := await self.reader.read(CHUNK)):
                    left -= len(data)

    async def _next(self) -> Event:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                data = await self.reader.read(CHUNK)
                self._heard = self._heard or bool(data)
                self._http.receive_data(data)
            elif event is h11.PAUSED:
                raise h11.RemoteProtocolError("a message within a message")
            else:
                return event  # type: ignore[return-value]  # all that is left


def _refusal(error: h11.RemoteProtocolError) -> Refused:
    if error.error_status_hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        return Refused(status, "malformed", "the head of the request is too large")
    return malformed(f"this is no HTTP/1.1 request: {error}")
