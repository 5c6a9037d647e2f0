"""Who waits at the doors of an agent's box for what its conversation decides."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from events.calls import ToolCall
from pandar_daemon.domain.hearing import DOOR, Asked, Heard, Withdrawn
from pandar_daemon.ports import Permission

Foresee = Callable[[Asked], Awaitable[Asked]]
"""Returns what an agent asks for as it will come to a door of its box, if it will."""


class Callers:
    """A second mouth of one conversation: it is told by ``hear``, as of what the agent says."""

    def __init__(self, hear: Callable[[Heard], None]) -> None:
        self._hear = hear
        self._waiting: dict[str, asyncio.Future[Permission]] = {}
        self._made = 0
        self._closed = ""
        self.foresee: Foresee | None = None
        """Says what of an agent's own wishes will come to a door."""

    async def inquire(self, call: ToolCall, why: str) -> Permission:
        """See `ports.Inquire`. Cancelled, nobody needs to decide it any more."""
        if self._closed:
            return Permission(allowed=False, text=self._closed)
        self._made += 1
        request_id = f"{DOOR}{self._made}"
        answered: asyncio.Future[Permission] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = answered
        self._hear(Asked(request_id=request_id, call=call, intent=why))
        try:
            return await answered
        finally:
            if self._waiting.pop(request_id, None) is not None:
                self._hear(Withdrawn(request_id=request_id))

    async def foreseen(self, said: Heard) -> Heard:
        """Return what an agent says, what it asks for as it will come to a door."""
        if self.foresee is None or not isinstance(said, Asked):
            return said
        return await self.foresee(said)

    def answer(self, request_id: str, permission: Permission) -> None:
        """Tell who waits under this id, if somebody still does."""
        answered = self._waiting.pop(request_id, None)
        if answered is not None and not answered.done():
            answered.set_result(permission)

    def close(self, why: str) -> None:
        """Refuse whoever waits, and whoever will come. Idempotent."""
        self._closed = self._closed or why
        for request_id in list(self._waiting):
            self.answer(request_id, Permission(allowed=False, text=self._closed))
