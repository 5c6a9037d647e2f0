"""The `Door` that answers at once: a NATS service named ``pandar``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from importlib.metadata import version

import structlog
from nats.aio.msg import Msg

from events import instant, subjects
from events.commands import ACTIONS
from events.running import RUNNER_ACTIONS
from pandar_daemon.adapters.nats.connection import NatsConnection
from pandar_daemon.adapters.nats.in_hand import InHand
from pandar_daemon.adapters.nats.listening import Route
from pandar_daemon.adapters.nats.messages import Answer, attempt, message, refused
from pandar_daemon.adapters.nats.micro import Endpoint, Micro
from pandar_daemon.domain.refusals import TooLarge, Unavailable
from pandar_daemon.ports import Handler

log = structlog.get_logger(__name__)

IN_HAND_MAX = 512
"""Requests worked on at a time; one more is answered 503 at once, so that none waits unseen."""
_ERRORS_FROM = 400


def _endpoints() -> list[Endpoint]:
    """Return one endpoint per action, so that a bus account can be granted just one of them."""
    ours = [(a.replace(".", "-"), f"{subjects.COMMANDS}.{a}.*.*") for a in ACTIONS]
    runners = [(f"run-{a}", f"{subjects.RUN}.{a}.*") for a in RUNNER_ACTIONS]
    return [
        Endpoint(name=name, subject=subject, queue_group=subjects.SERVICE)
        for name, subject in ours + runners
    ]


class ServiceDoor:
    """Requests are spread over all processes that serve; each is worked on concurrently."""

    def __init__(self, connection: NatsConnection, *, in_hand: int = IN_HAND_MAX) -> None:
        self._connection = connection
        self._limit = in_hand

    async def serve(self, handler: Handler, ready: Callable[[], None]) -> None:
        """Answer requests until cancelled; then take no more and finish those in hand in 10 s."""
        micro, in_hand = self._micro(), InHand(self._limit)
        routes = [
            Route(each.subject, partial(self._request, in_hand, each, handler), each.queue_group)
            for each in micro.endpoints
        ]
        try:
            async with self._connection.listen(*routes, *self._monitoring(micro, in_hand)):
                await self._connection.wait_up()
                log.info("service.ready", id=micro.id)
                ready()
                await asyncio.get_running_loop().create_future()
        finally:
            await in_hand.finish()

    def _micro(self) -> Micro:
        clock = self._connection.clock
        return Micro(
            name=subjects.SERVICE,
            id=clock.new_id().hex,
            version=version("pandar-daemon"),
            description="Runs coding agents; docs/reference/asyncapi.json describes its messages",
            started=instant.text(clock.now()),
            endpoints=_endpoints(),
        )

    def _monitoring(self, micro: Micro, in_hand: InHand) -> list[Route]:
        def say(verb: str, msg: Msg) -> None:
            in_hand.start(self._reply(msg, Answer(status=200, body=micro.say(verb), headers={})))

        return [
            Route(subject, partial(say, verb))
            for verb in ("PING", "INFO", "STATS")
            for subject in micro.subjects(verb)
        ]

    def _request(self, in_hand: InHand, endpoint: Endpoint, handler: Handler, msg: Msg) -> None:
        if in_hand.free > 0:
            in_hand.start(self._work(endpoint, handler, msg))
        else:
            endpoint.count(0.0, "busy")
            in_hand.start(self._reply(msg, refused(in_hand.full())))

    async def _work(self, endpoint: Endpoint, handler: Handler, msg: Msg) -> None:
        start = self._connection.clock.boottime()
        answer = await attempt(handler, message(msg))
        error = f"{answer.status}" if answer.status >= _ERRORS_FROM else None
        endpoint.count(self._connection.clock.boottime() - start, error)
        await self._reply(msg, answer)

    async def _reply(self, msg: Msg, answer: Answer) -> None:
        if not msg.reply:
            return
        try:
            await self._connection.publish(msg.reply, answer.body, answer.headers)
        except TooLarge as error:
            await self._reply(msg, refused(error.problem))
        except (Unavailable, ValueError) as error:
            log.warning("answer.dropped", subject=msg.subject, error=str(error))
