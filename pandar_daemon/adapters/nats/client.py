"""One connection of nats-py, used until it is lost and then thrown away.

nats-py can end in states it never leaves: closed by a single ``-ERR``, or "connected" with a
dead read loop. Its own reconnecting also keeps what was being sent and delivers it later, when
the sender has given up on it. So it is told never to reconnect and never to buffer; what rebuilds
is `pandar_daemon.adapters.nats.connection`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

import structlog
from nats.aio.client import Client
from nats.errors import Error

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


class GuardedClient(Client):
    """A client that no message can break, and that says when it is gone for good."""

    def __init__(self) -> None:
        super().__init__()
        self.gone = asyncio.Event()

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        """Drop what cannot be parsed: nats-py lets such a message end its read loop."""
        try:
            await super()._process_msg(sid, subject, reply, data, headers)
        except Exception as error:  # noqa: BLE001 - whatever a stranger sent, go on reading
            log.warning("message.unreadable", subject=repr(subject[:200]), error=repr(error))

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


def check_size(
    client: GuardedClient, subject: str, body: bytes, headers: Mapping[str, str]
) -> None:
    """Refuse what the server would close the connection for, or what it does not keep up with.

    Raises `TooLarge`, `Unavailable`, or ``ValueError`` for an endless subject.
    """
    if len(subject) > SUBJECT_MAX_CHARS:
        msg = f"a subject has at most {SUBJECT_MAX_CHARS} characters, not {len(subject)}"
        raise ValueError(msg)
    size = len(body) + sum(len(k) + len(v.encode()) + 4 for k, v in headers.items()) + 12
    if size > client.max_payload:
        msg = f"a message has at most {client.max_payload} bytes, headers included, not {size}"
        raise TooLarge(msg)
    if client.pending_data_size > PENDING_MAX_BYTES:
        raise Unavailable("the bus does not keep up with what is sent")
