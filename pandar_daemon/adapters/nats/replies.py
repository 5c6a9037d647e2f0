"""Who awaits which answer: one inbox for all questions of a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from nats.aio.msg import Msg

from pandar_daemon.adapters.nats.client import OnMessage
from pandar_daemon.domain.refusals import Unavailable


@dataclass(frozen=True, slots=True)
class _Awaited:
    answered: OnMessage
    lost: Callable[[], None]


class Replies:
    """Routes each answer by the last token of its subject, until it is forgotten."""

    def __init__(self) -> None:
        self._awaited: dict[str, _Awaited] = {}
        self._count = 0

    def expect(self, answered: OnMessage, lost: Callable[[], None]) -> str:
        """Return a fresh token; ``lost`` is called if the connection goes first."""
        self._count += 1
        token = str(self._count)
        self._awaited[token] = _Awaited(answered, lost)
        return token

    def expect_one(self) -> tuple[str, asyncio.Future[Msg]]:
        """Return a token and the future of its first answer, or of `Unavailable`."""
        future: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        token = self.expect(lambda msg: _answer(future, msg), lambda: fail(future))
        future.add_done_callback(lambda _: self.forget(token))
        return token, future

    def forget(self, token: str) -> None:
        """Ignore answers to this token from now on."""
        self._awaited.pop(token, None)

    def deliver(self, msg: Msg) -> None:
        """Hand an answer to whoever awaits it, or drop it."""
        awaited = self._awaited.get(msg.subject.rpartition(".")[2])
        if awaited is not None:
            awaited.answered(msg)

    def lose_all(self) -> None:
        """Tell everybody that no answer will come."""
        awaited, self._awaited = list(self._awaited.values()), {}
        for each in awaited:
            each.lost()


def _answer(future: asyncio.Future[Msg], msg: Msg) -> None:
    if not future.done():
        future.set_result(msg)


def fail(future: asyncio.Future[Msg]) -> None:
    """Give the future its failure, without complaint if nobody asks for it any more."""
    if not future.done():
        future.set_exception(Unavailable("the connection to the bus was lost; ask again"))
        future.exception()
