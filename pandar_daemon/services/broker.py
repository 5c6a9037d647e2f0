"""What programs in the box of one execution order at its control door, by tool."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import structlog

from pandar_daemon.ports import Ending, Order, Show

log = structlog.get_logger(__name__)

Serve = Callable[[Order, Show], Awaitable[Ending]]
NOT_DONE = 126
"""The exit code of what is not done for anybody: found, and not to be run."""


class Broker:
    """Gives each order to who serves its tool; `order` is for `ports.Control`."""

    def __init__(self, served: Mapping[str, Serve], otherwise: Serve) -> None:
        self._served = served
        self._otherwise = otherwise

    async def order(self, order: Order, show: Show) -> Ending:
        """See `ports.Orders`."""
        log.info("broker.ordered", tool=order.tool, words=len(order.argv))
        return await self._served.get(order.tool, self._otherwise)(order, show)


async def refuse(show: Show, text: str) -> Ending:
    """Say why something is not done, and what to do."""
    await show.error(f"{text}\n".encode())
    return Ending(exit_code=NOT_DONE)
