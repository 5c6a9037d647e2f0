"""One connection of nats-py, used until it is lost and then thrown away.

nats-py can end in states it never leaves: closed by a single ``-ERR``, or "connected" with a
dead read loop. Its own reconnecting also keeps what was being sent and delivers it later, when
the sender has given up on it. So it is told never to reconnect and never to buffer; what rebuilds
is `pandar_daemon.adapters.nats.connection`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error

from pandar_daemon.adapters.nats.framing import framed, headers_of
from pandar_daemon.domain.refusals import TooLarge, Unavailable

log = structlog.get_logger(__name__)

CONNECT_SEC = 2
INBOX = "_INBOX_pandar"
"""Apart from the usual ``_INBOX``, so that others on the bus need not see our answers."""
PING_SEC = 10
PENDING_MAX_BYTES = 64 * 2**20
"""More than this unsent, and sending fails: the bus does not keep up."""
SUBJECT_MAX_CHARS = 1_000
"""Two of these and the rest of a control line fit the server's 4,096."""


OnMessage = Callable[[Msg], None]


class GuardedClient(Client):
    """A client that no message can break, and that says when it is gone for good.

    It is also quick. nats-py hands what it read to one task and what it writes to another, each a
    turn of the loop later. Here a message goes from the read loop to its function, and the first
    of a turn goes straight to the socket; those that follow it share the flusher's next write.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gone = asyncio.Event()
        self._heard: dict[int, OnMessage] = {}
        self._wrote = False

    async def hear(self, subject: str, queue: str, on_message: OnMessage) -> int:
        """Subscribe with a function that returns at once; what it raises is logged.

        Returns the number to `leave` it by.
        """
        number = self._sid + 1  # what `subscribe` is about to give it
        self._heard[number] = on_message
        await self.subscribe(subject, queue=queue)
        return number

    async def leave(self, numbers: Sequence[int]) -> None:
        """End subscriptions; what the server has already sent is still heard.

        Cancelled, it ends them all the same. Raises nats-py's ``Error`` or ``OSError`` when the
        server does not answer: they are ended then too.
        """
        try:
            for number in numbers:
                await self._send_unsubscribe(number)
            await self.flush()
        finally:
            for number in numbers:
                self._remove_sub(number)

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        super()._remove_sub(sid, max_msgs)
        if sid not in self._subs:
            self._heard.pop(sid, None)

    async def send(self, subject: str, reply: str, headers: Mapping[str, str], body: bytes) -> None:
        """Hand a message to the socket, or to the flusher behind it.

        Raises `TooLarge` for what the server would close the connection for, `Unavailable` when
        it does not keep up, ``ValueError`` or nats-py's ``Error`` for the rest.
        """
        frame = framed(subject, reply, headers, body)
        if frame is None or not self.is_connected:
            check_subject(subject)
            check_size(self, len(body) + _size(headers))
            await self.publish(subject, body, reply, dict(headers) or None)
            return
        check_size(self, frame.payload_bytes)
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += len(body)
        await self._send_command(frame.data)
        if self._flush_queue is not None and self._flush_queue.empty():
            await self._flush_pending()

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        """Drop what cannot be parsed: nats-py lets such a message end its read loop."""
        try:
            on_message = self._heard.get(sid)
            if on_message is None:
                await super()._process_msg(sid, subject, reply, data, headers)
                return
            parsed = headers_of(headers) if headers else None
            if headers and parsed is None:
                parsed = await self._process_headers(headers)
            msg = self._build_message(sid, subject, reply, data, parsed)
        except Exception as error:  # noqa: BLE001 - whatever a stranger sent, go on reading
            log.warning("message.unreadable", subject=repr(subject[:200]), error=repr(error))
            return
        try:
            on_message(msg)
        except Exception:
            log.exception("message.failed", subject=msg.subject)

    async def _flush_pending(self, force_flush: bool = False) -> object:  # noqa: FBT001, FBT002 - nats-py's signature
        """Write now if nothing was written in this turn and the socket took what came before."""
        writer = getattr(self._transport, "_io_writer", None)
        if (
            self._wrote
            or not self.is_connected
            or writer is None
            or writer.transport.get_write_buffer_size()
        ):
            return await super()._flush_pending(force_flush)
        self._wrote = True
        asyncio.get_running_loop().call_soon(self._next_turn)
        pending, self._pending, self._pending_data_size = self._pending, [], 0
        writer.transport.write(b"".join(pending))
        return None

    def _next_turn(self) -> None:
        self._wrote = False

    async def _process_pong(self) -> None:
        """Survive the late answer to a ping somebody gave up on, which nats-py does not."""
        with contextlib.suppress(asyncio.InvalidStateError):
            await super()._process_pong()

    async def _close(self, status: int, do_cbs: bool = True) -> None:  # noqa: FBT001, FBT002 - nats-py's signature
        """Let go at once: writing what is pending to a dead socket would raise, or never end."""
        self._pending.clear()
        self._pending_data_size = 0
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()
        try:
            await super()._close(status, do_cbs)
        finally:
            self.gone.set()


async def _on_error(error: Exception) -> None:
    log.info("bus.error", error=repr(error))


async def open_client(servers: Sequence[str], name: str) -> GuardedClient:
    """Return a connected client.

    Raises nats-py's ``Error``, ``OSError`` or ``TimeoutError`` when no server takes us in.
    """
    client = GuardedClient()
    try:
        async with asyncio.timeout(CONNECT_SEC * 2):
            await client.connect(
                list(servers),
                name=name,
                error_cb=_on_error,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                connect_timeout=CONNECT_SEC,
                ping_interval=PING_SEC,
                pending_size=0,
                inbox_prefix=INBOX,
            )
    except BaseException:
        await close_client(client)
        raise
    return client


async def close_client(client: GuardedClient) -> None:
    """Close it, whatever state it is in."""
    with contextlib.suppress(Error, OSError):
        await client.close()


def check_subject(subject: str) -> None:
    """Raise ``ValueError`` for an endless one."""
    if len(subject) > SUBJECT_MAX_CHARS:
        msg = f"a subject has at most {SUBJECT_MAX_CHARS} characters, not {len(subject)}"
        raise ValueError(msg)


def check_size(client: GuardedClient, size: int) -> None:
    """Refuse what the server would close the connection for, or what it does not keep up with."""
    if size > client.max_payload:
        msg = f"a message has at most {client.max_payload} bytes, headers included, not {size}"
        raise TooLarge(msg)
    if client.pending_data_size > PENDING_MAX_BYTES:
        raise Unavailable("the bus does not keep up with what is sent")


def _size(headers: Mapping[str, str]) -> int:
    return sum(len(name) + len(value.encode()) + 4 for name, value in headers.items()) + 12
