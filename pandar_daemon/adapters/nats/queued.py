"""One queued command, from its delivery to its acknowledgement."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
import structlog
from nats.aio.msg import Msg

from events import subjects
from events.ids import TOKEN
from pandar_daemon.adapters.nats import streams
from pandar_daemon.adapters.nats.connection import NatsConnection
from pandar_daemon.adapters.nats.jetstream import JetStream, JetStreamRefused, Outgoing
from pandar_daemon.adapters.nats.jetstream_api import SECOND
from pandar_daemon.adapters.nats.messages import Answer, attempt, message, refused
from pandar_daemon.domain.refusals import TooLarge, Unavailable
from pandar_daemon.ports import Handler

log = structlog.get_logger(__name__)

KEEP_SEC = 10.0
"""How often the server is told that a command is being worked on: a third of its patience."""
FAULTS_MAX = 6
"""At this delivery a fault of ours becomes the answer."""
DELAY_MAX_SEC = 30
PAUSE_SEC = 0.5
_UNAVAILABLE, _FAULT = 503, 500


class QueuedCommands:
    """Works on delivered commands; a command is acknowledged once its answer is stored."""

    def __init__(self, connection: NatsConnection, handler: Handler, *, replicas: int) -> None:
        self._connection = connection
        self._js = JetStream(connection)
        self._handler = handler
        self._replicas = replicas

    async def work(self, msg: Msg) -> None:
        """Do one command: answer it, put it back for later, or end it for good."""
        asked = msgspec.structs.replace(message(msg), queued_at=stored_at(msg))
        delivered = deliveries(msg)
        command_id = asked.headers.get("pandar-command-id", "")
        if not TOKEN.fullmatch(command_id):
            log.warning("command.terminated", subject=msg.subject, reason="no valid command id")
            await self._tell(msg, b"+TERM Pandar-Command-Id is missing or malformed")
            return
        async with self._kept(msg):
            answer = await attempt(self._handler, asked)
            if _is_for_later(answer, delivered):
                await self.give_back(msg, delay_sec=min(2**delivered, DELAY_MAX_SEC))
            else:
                await self._settle(msg, command_id, answer)

    async def give_back(self, msg: Msg, *, delay_sec: int = 0) -> None:
        """Let it be delivered again, to anybody, after a delay."""
        delay = msgspec.json.encode({"delay": delay_sec * SECOND})
        await self._tell(msg, b"-NAK " + delay if delay_sec else b"-NAK")

    async def _settle(self, msg: Msg, command_id: str, answer: Answer) -> None:
        """Store the answer, then acknowledge; outlives an absence of the bus."""
        while True:
            try:
                await self._store(command_id, answer)
            except TooLarge as error:
                answer = refused(error.problem)
            except Unavailable as error:
                log.warning("result.delayed", command_id=command_id, error=str(error))
                await self._recover()
            else:
                await self._tell(msg, b"+ACK")
                return

    async def _store(self, command_id: str, answer: Answer) -> None:
        headers = {**answer.headers, "Pandar-Command-Id": command_id}
        subject = subjects.result(command_id)
        ack = await self._js.store(Outgoing(subject=subject, body=answer.body, headers=headers))
        if ack.error is not None:
            raise JetStreamRefused(subject, ack.error)

    async def _recover(self) -> None:
        await asyncio.sleep(PAUSE_SEC)
        await self._connection.wait_up()
        with contextlib.suppress(Unavailable):
            await self._js.ensure(streams.results(self._replicas))

    @contextlib.asynccontextmanager
    async def _kept(self, msg: Msg) -> AsyncIterator[None]:
        keeping = asyncio.create_task(self._keep(msg))
        try:
            yield
        finally:
            keeping.cancel()

    async def _keep(self, msg: Msg) -> None:
        while True:
            await asyncio.sleep(KEEP_SEC)
            await self._tell(msg, b"+WPI")

    async def _tell(self, msg: Msg, what: bytes) -> None:
        """Tell the server what becomes of a message; untold, it is delivered again."""
        try:
            await self._connection.publish(msg.reply, what)
        except Unavailable:
            log.info("acknowledgement.dropped", subject=msg.subject)


def _is_for_later(answer: Answer, delivered: int) -> bool:
    if answer.status == _FAULT:
        return delivered < FAULTS_MAX
    return answer.status == _UNAVAILABLE


def deliveries(msg: Msg) -> int:
    """Return how often a message was delivered, 0 when it is not from a consumer."""
    return _told(msg, 0)


def stored_at(msg: Msg) -> datetime:
    """Return when the server stored a message, which its sender cannot choose."""
    return _EPOCH + timedelta(microseconds=_told(msg, 3) // 1_000)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _told(msg: Msg, nth: int) -> int:
    """Return a number of the reply subject: ``….<delivered>.<sequence>.<sequence>.<ns>.<left>``."""
    tokens = msg.reply.split(".")
    if tokens[:2] != ["$JS", "ACK"] or len(tokens) not in {9, 11, 12}:
        return 0
    first = 4 if len(tokens) == 9 else 6  # noqa: PLR2004 - newer servers add domain, account
    number = tokens[first + nth]
    return int(number) if number.isascii() and number.isdigit() else 0
