"""The `Door` for who is in the same process, and the `Sender` that finds it before the bus.

The same message gets the same answer through either door. By this one it takes no way over the bus,
and it is answered while the bus is away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from events.problem import Problem
from pandar_daemon.adapters.nats.connection import LATE
from pandar_daemon.adapters.nats.in_hand import InHand
from pandar_daemon.adapters.nats.messages import outcome
from pandar_daemon.adapters.nats.service import IN_HAND_MAX
from pandar_daemon.domain.refusals import Refusal, Unavailable
from pandar_daemon.ports import Handler, Headers, Message, Sender


class NearDoor:
    """Asks whoever serves here; while nobody does, the ``far`` side."""

    def __init__(self, far: Sender, *, in_hand: int = IN_HAND_MAX) -> None:
        self._far = far
        self._in_hand = InHand(in_hand)
        self._handler: Handler | None = None

    async def serve(self, handler: Handler, ready: Callable[[], None]) -> None:
        """Answer requests until cancelled; then take no more and finish those in hand in 10 s."""
        self._handler = handler
        try:
            ready()
            await asyncio.get_running_loop().create_future()
        finally:
            self._handler = None
            await self._in_hand.finish()

    async def ask(
        self, subject: str, body: bytes, *, headers: Headers | None = None, timeout_sec: float = 5.0
    ) -> bytes:
        """Return the answer's body, as `Sender` promises.

        Work that was begun is done, also when nobody waits for it any more.
        """
        handler = self._handler
        if handler is None:
            return await self._far.ask(subject, body, headers=headers, timeout_sec=timeout_sec)
        if self._in_hand.free <= 0:
            raise Refusal(self._in_hand.full())
        named = {name.lower(): value for name, value in (headers or {}).items()}
        asked = Message(subject=subject, body=body, headers=named)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._in_hand.start(_work(handler, asked, answer))
        try:
            async with asyncio.timeout(timeout_sec):
                return await answer
        except TimeoutError:
            raise Unavailable(LATE) from None


async def _work(handler: Handler, asked: Message, answer: asyncio.Future[bytes]) -> None:
    """Let the handler answer; a refusal is told as it would arrive by the bus."""
    try:
        said = await outcome(handler, asked)
    except asyncio.CancelledError:
        _settle(answer, Unavailable(LATE))
        raise
    _settle(answer, Refusal(said) if isinstance(said, Problem) else said)


def _settle(answer: asyncio.Future[bytes], said: bytes | Refusal) -> None:
    """Tell who asked, if somebody still waits."""
    if answer.done():
        return
    if isinstance(said, Refusal):
        answer.set_exception(said)
    else:
        answer.set_result(said)
