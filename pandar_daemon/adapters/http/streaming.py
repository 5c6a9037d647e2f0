"""An answer without an end in sight: what every stream needs, so that no client can hurt us.

Nothing is queued for a client. Its own socket is the only buffer: while that is full, its reader
waits, and one who takes nothing for 30 s is cut off. What it missed it reads again from the log.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Final

import structlog
from aiohttp import web
from prometheus_client import Gauge

from pandar_daemon.adapters.http.deps import PRINCIPAL, deps
from pandar_daemon.adapters.http.problems import TooManyStreams
from pandar_daemon.domain.groups import leaves
from pandar_daemon.domain.refusals import Unavailable

log = structlog.get_logger(__name__)


class Gone(ConnectionResetError):
    """The client left, or took nothing for too long."""


class Sink:
    """The way to one client; safe to write to from several tasks."""

    def __init__(self, request: web.Request, reply: web.StreamResponse, write_sec: float) -> None:
        self._request = request
        self.reply = reply
        self._write_sec = write_sec
        self._turn = asyncio.Lock()

    async def write(self, data: bytes) -> None:
        """Write all of it, in one piece; raises `Gone`."""
        async with self._turn:
            self.check()
            try:
                async with asyncio.timeout(None if self._fits(data) else self._write_sec):
                    await self.reply.write(data)
            except TimeoutError:
                self.abort()
                raise Gone from None
            except ConnectionResetError:
                raise Gone from None

    def _fits(self, data: bytes) -> bool:
        """Whether the socket's buffer takes it at once, so that no watch need be set."""
        transport = self._request.transport
        if not isinstance(transport, asyncio.Transport):
            return False
        _, most = transport.get_write_buffer_limits()
        return transport.get_write_buffer_size() + len(data) < most

    def check(self) -> None:
        """Raise `Gone` when the client has left."""
        if self._request.transport is None or self._request.transport.is_closing():
            raise Gone

    def abort(self) -> None:
        """Break the connection off."""
        if isinstance(self._request.transport, asyncio.Transport):
            self._request.transport.abort()


class Streams:
    """All open streams of this process: counted, limited, and ended when it stops."""

    def __init__(self) -> None:
        self._open: set[asyncio.Task[object]] = set()
        self._by_user: Counter[str] = Counter()
        self._closing = False

    @asynccontextmanager
    async def opened(self, request: web.Request, headers: Mapping[str, str]) -> AsyncIterator[Sink]:
        """Begin an answer and give the way to its client; then return ``sink.reply``.

        Ends quietly when the client leaves or the process stops; any other error is logged and
        breaks the connection off, so that a client never takes a part for the whole. Raises
        `TooManyStreams` or `Unavailable` before anything is sent.
        """
        needs, user = deps(request), request[PRINCIPAL].user
        self._admit(user, needs.limits.streams_per_user, needs.limits.streams)
        reply = web.StreamResponse(headers={**headers, "Cache-Control": "no-store"})
        with self._counted(user, needs.metrics.streams):
            await reply.prepare(request)
            sink = Sink(request, reply, needs.limits.write_sec)
            try:
                yield sink
                await reply.write_eof()
            except asyncio.CancelledError:
                if not self._closing:
                    raise
            except Exception as error:
                if not _left(error):
                    log.exception("http.stream_failed", path=request.path)
                sink.abort()

    @contextmanager
    def _counted(self, user: str, streams: Gauge) -> Iterator[None]:
        task = asyncio.current_task()
        self._by_user[user] += 1
        streams.inc()
        if task:
            self._open.add(task)
        try:
            yield
        finally:
            streams.dec()
            self._by_user -= Counter([user])
            if task:
                self._open.discard(task)

    def _admit(self, user: str, per_user: int, most: int) -> None:
        if self._closing or len(self._open) >= most:
            raise Unavailable("this server has as many open streams as it may have")
        if self._by_user[user] >= per_user:
            raise TooManyStreams(per_user)

    async def close(self, _app: web.Application) -> None:
        """End all streams; their clients come back to another process, or later."""
        self._closing = True
        for task in tuple(self._open):
            task.cancel()


def _left(error: BaseException) -> bool:
    return all(isinstance(leaf, Gone) for leaf in leaves(error))


STREAMS: Final = web.AppKey("STREAMS", Streams)


def opened(request: web.Request, headers: Mapping[str, str]) -> AbstractAsyncContextManager[Sink]:
    """Begin a stream; see `Streams.opened`."""
    return request.app[STREAMS].opened(request, headers)
