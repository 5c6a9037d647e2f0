"""The proxy of a box: ``CONNECT`` and ``http://`` to whom it may call, and its models' servers.

See docs/explanation/egress.md. Nothing is written down but hosts and ports: no path, no body.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

import h11
import structlog

from pandar_daemon.adapters.egress import tunnel
from pandar_daemon.adapters.egress.bounds import READ_AHEAD, Bounds
from pandar_daemon.adapters.egress.dialing import Dialer, looked_up
from pandar_daemon.adapters.egress.forwarding import ClientGone, forward
from pandar_daemon.adapters.egress.gatekeeper import Gatekeeper
from pandar_daemon.adapters.egress.heads import (
    host_in,
    model_of,
    onward,
    server_of,
    split_target,
    to_model,
)
from pandar_daemon.adapters.egress.masking import Mask
from pandar_daemon.adapters.egress.peer import Peer
from pandar_daemon.adapters.egress.refused import Refused
from pandar_daemon.adapters.resolving import Resolve
from pandar_daemon.domain.egress import Host
from pandar_daemon.ports.sandbox import MODELS_PATH, Blocked, Inquire, Outward

log = structlog.get_logger(__name__)

_ECHO: Final = b"TRACE"


class EgressProxy:
    """See `ports.sandbox.Egress`."""

    def __init__(
        self,
        *,
        resolve: Resolve = looked_up,
        tls: ssl.SSLContext | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        """Look names up with ``resolve``; trust whom the system trusts, unless ``tls`` says."""
        self._bounds = bounds or Bounds()
        self._dialer = Dialer(resolve, tls or ssl.create_default_context(), self._bounds)

    @asynccontextmanager
    async def serving(
        self,
        door: socket.socket,
        outward: Outward,
        inquire: Inquire,
        blocked: Callable[[Blocked], Awaitable[None]],
    ) -> AsyncIterator[None]:
        """Serve one box's door, which is closed in the end, with all connections."""
        gatekeeper = Gatekeeper(outward, inquire, blocked, self._dialer, self._bounds)
        port = door.getsockname()[1]
        box = _Box(port, outward, gatekeeper, self._dialer, self._bounds)
        own = door.dup()  # whose it is may close it when the box is over, while we still listen
        server = await asyncio.start_server(box.accepted, sock=own, limit=READ_AHEAD)
        try:
            yield
        finally:
            server.close()
            door.close()
            await box.close()
            await gatekeeper.close()


class _Box:
    """The connections of one box."""

    def __init__(
        self,
        port: int,
        outward: Outward,
        gatekeeper: Gatekeeper,
        dialer: Dialer,
        bounds: Bounds,
    ) -> None:
        self._here = {Host("127.0.0.1", port), Host("localhost", port)}
        """The proxy, as it is named by who sends even local requests through it."""
        self._models = outward.models
        self._gatekeeper, self._dialer, self._bounds = gatekeeper, dialer, bounds
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_over = False

    def accepted(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self._is_over or len(self._tasks) >= 2 * self._bounds.connections:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        self._is_over = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        client = Peer(reader, writer, h11.SERVER, self._bounds)
        try:
            await self._attend(client)
        except (OSError, TimeoutError, ClientGone, h11.ProtocolError):
            client.abort()
        except asyncio.CancelledError:
            client.abort()
            raise
        except Exception:
            log.exception("egress.broken")
            client.abort()
        finally:
            writer.close()

    async def _attend(self, client: Peer) -> None:
        """Answer a client's requests, one after another."""
        try:
            self._check_room()
            request = await client.request(self._bounds.header_sec)
            while request is not None:
                if request.method == b"CONNECT":
                    await self._connect(client, request)
                    return
                await self._exchange(client, request)
                again = client.again()
                request = await client.request(self._bounds.keep_sec) if again else None
            await client.finish()
        except Refused as refused:
            await client.refuse(refused)

    def _check_room(self) -> None:
        if len(self._tasks) > self._bounds.connections:
            text = f"a task may have {self._bounds.connections} connections at a time"
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "busy", text)

    async def _connect(self, client: Peer, request: h11.Request) -> None:
        """Make a tunnel."""
        called = host_in(request.target.decode("ascii"))
        addresses = await self._admitted(client, called)
        server = await self._dialer.connect(called, addresses)
        try:
            opened = h11.Response(status_code=HTTPStatus.OK, reason="Connected", headers=[])
            await client.send(opened)
            await self._carry(client, server, called)
        except BaseException:
            server[1].transport.abort()
            raise
        finally:
            server[1].close()

    async def _carry(self, client: Peer, server: tunnel.Stream, called: Host) -> None:
        begun = client.switched()
        if called.port in self._bounds.tls_ports:
            try:
                begun = await tunnel.greeting(client.reader, called, begun, self._bounds)
            except Refused as refused:
                self._gatekeeper.tell(called, refused.text)
                client.writer.write(tunnel.UNRECOGNISED)
                return
        server[1].write(begun)
        await tunnel.carry((client.reader, client.writer), server, self._bounds)

    async def _exchange(self, client: Peer, request: h11.Request) -> None:
        """Carry one request and its answer."""
        if request.method == _ECHO:
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "malformed", "TRACE is not allowed")
        target = request.target
        if target.startswith(b"/"):
            await self._model(client, request, target)
            return
        called, path = split_target(target)
        if called in self._here and path.startswith(MODELS_PATH.encode()):
            await self._model(client, request, path)
            return
        head = onward(request, path, str(called).removesuffix(":80"))
        addresses = await self._admitted(client, called)
        server = await self._dialer.connect(called, addresses)
        await self._forward(client, server, head, Mask(()))

    async def _model(self, client: Peer, request: h11.Request, target: bytes) -> None:
        upstream, rest = model_of(target, self._models)
        head = to_model(request, rest, upstream)
        called, encrypted = server_of(upstream)
        addresses = await self._dialer.addresses(called)
        server = await self._dialer.connect(called, addresses, encrypted=encrypted)
        await self._forward(client, server, head, Mask(upstream.headers.values()))

    async def _forward(
        self, client: Peer, server: tunnel.Stream, head: h11.Request, mask: Mask
    ) -> None:
        try:
            await forward(client, Peer(*server, h11.CLIENT, self._bounds), head, mask)
        except BaseException:
            server[1].transport.abort()
            raise
        finally:
            server[1].close()

    async def _admitted(self, client: Peer, called: Host) -> Sequence[str]:
        """Return the addresses of a host, unless who waits for them leaves first."""
        admitting = asyncio.create_task(self._gatekeeper.admit(called))
        leaving = asyncio.create_task(client.gone())
        try:
            await asyncio.wait({admitting, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not admitting.done():
                raise ClientGone
            return await admitting
        finally:
            admitting.cancel()
            leaving.cancel()
            await asyncio.gather(admitting, leaving, return_exceptions=True)
