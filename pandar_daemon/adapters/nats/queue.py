"""The `Door` that is always open: commands left in a stream, answered on a result subject.

A command is pulled, worked on, its answer stored, and only then acknowledged: killed anywhere in
between, it is delivered again, and the handler replays the first answer by its command id. What
cannot be done now (503, or a fault of ours) is put back with growing delays.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import msgspec
import structlog
from nats.aio.msg import Msg

from events import subjects
from pandar_daemon.adapters.nats import streams
from pandar_daemon.adapters.nats.connection import NatsConnection, status_of
from pandar_daemon.adapters.nats.in_hand import InHand
from pandar_daemon.adapters.nats.jetstream import JetStream
from pandar_daemon.adapters.nats.jetstream_api import API, SECOND
from pandar_daemon.adapters.nats.listening import Route
from pandar_daemon.adapters.nats.queued import PAUSE_SEC, QueuedCommands, deliveries
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import Clock, Handler

log = structlog.get_logger(__name__)

IN_HAND_MAX = 64
PULL_SEC = 5
"""How long an idle pull stays open on the server."""
_NEXT = f"{API}.CONSUMER.MSG.NEXT.{subjects.COMMANDS_STREAM}.{streams.CONSUMER}"
_PULL_OVER = {"404", "408"}


class _Renewed(Exception):
    """The connection is another one: what was asked on the old one is forgotten."""


class QueueDoor:
    """Shares the durable consumer ``pandar`` with all processes that serve it."""

    def __init__(
        self,
        connection: NatsConnection,
        clock: Clock,
        *,
        replicas: int = 1,
        in_hand: int = IN_HAND_MAX,
    ) -> None:
        self._connection = connection
        self._js = JetStream(connection)
        self._clock = clock
        self._replicas = replicas
        self._limit = in_hand

    async def serve(self, handler: Handler, ready: Callable[[], None]) -> None:
        """Do commands until cancelled; then give back those not begun, finish those in hand."""
        commands = QueuedCommands(self._connection, handler, replicas=self._replicas)
        arrived: asyncio.Queue[Msg | None] = asyncio.Queue()
        in_hand = InHand(self._limit)
        inbox = f"_INBOX.{self._clock.new_id().hex}"
        routes = Route(inbox, arrived.put_nowait)
        try:
            async with self._connection.listen(routes, on_up=lambda: arrived.put_nowait(None)):
                await self._prepare_until_done()
                log.info("queue.ready")
                ready()
                while True:
                    await self._serve(inbox, arrived, in_hand, commands)
        finally:
            while not arrived.empty():
                if (msg := arrived.get_nowait()) is not None and deliveries(msg):
                    await commands.give_back(msg)
            await in_hand.finish()

    async def _prepare_until_done(self) -> None:
        """Make the streams and the consumer, or set them right, as soon as the bus lets us."""
        while True:
            try:
                await self._js.ensure(streams.results(self._replicas))
                await self._js.ensure(streams.commands(self._replicas))
                consumer = streams.commands_consumer(max_ack_pending=self._limit * 8)
                await self._js.ensure_consumer(subjects.COMMANDS_STREAM, consumer)
            except Unavailable as error:
                log.warning("queue.away", error=str(error))
                await asyncio.sleep(PAUSE_SEC)
            else:
                return

    async def _serve(
        self,
        inbox: str,
        arrived: asyncio.Queue[Msg | None],
        in_hand: InHand,
        commands: QueuedCommands,
    ) -> None:
        """Pull and start commands until something is wrong with the bus, then set it right."""
        try:
            while True:
                await in_hand.room()
                batch = in_hand.free
                await self._pull(inbox, batch)
                async for msg in _pulled(arrived, batch):
                    in_hand.start(commands.work(msg))
        except _Renewed:
            log.info("queue.renewed")
        except Unavailable as error:
            log.warning("queue.interrupted", error=str(error))
            await asyncio.sleep(PAUSE_SEC)
        await self._prepare_until_done()

    async def _pull(self, inbox: str, batch: int) -> None:
        wanted = msgspec.json.encode({"batch": batch, "expires": PULL_SEC * SECOND})
        await self._connection.publish(_NEXT, wanted, reply=inbox)


async def _pulled(arrived: asyncio.Queue[Msg | None], batch: int) -> AsyncIterator[Msg]:
    """Iterate over what one pull brings, until it is over.

    A late status of an earlier pull ends it too: then two are open, which does no harm.
    """
    with contextlib.suppress(TimeoutError):
        for _ in range(batch):
            async with asyncio.timeout(PULL_SEC + 2):
                msg = await arrived.get()
            if msg is None:
                raise _Renewed
            if deliveries(msg):
                yield msg
            elif _is_over(msg):
                return


def _is_over(msg: Msg) -> bool:
    """Tell whether a pull ended in peace; raises `Unavailable` if not; garbage is ignored."""
    status = status_of(msg)
    if status in _PULL_OVER:
        return True
    if status:
        text = (msg.headers or {}).get("Description", "").partition("\n")[0]
        raise Unavailable(f"the queue's consumer says {status} {text}".rstrip())
    log.warning("queue.garbage", subject=msg.subject)
    return False
