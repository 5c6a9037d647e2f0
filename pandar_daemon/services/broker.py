"""What programs in the box of one execution order at its control door, by tool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import structlog
from msgspec.structs import replace

from events.calls import ToolCall
from pandar_daemon.domain.door_requests import ordered
from pandar_daemon.domain.hearing import Asked
from pandar_daemon.ports import Ending, Order, Show

log = structlog.get_logger(__name__)

NOT_DONE = 126
"""The exit code of what is not done for anybody: found, and not to be run."""


class Service(Protocol):
    """Serves the orders of a tool."""

    async def order(self, order: Order, show: Show) -> Ending:
        """See `ports.Orders`."""
        ...

    async def foresee(self, order: Order) -> ToolCall | None:
        """Return the call that an order would ask about, ``None`` where nobody can tell."""
        ...


class Broker:
    """Gives each order to who serves its tool; `order` is for `ports.Control`."""

    def __init__(self, served: Mapping[str, Service], otherwise: Service) -> None:
        self._served = served
        self._otherwise = otherwise

    async def order(self, order: Order, show: Show) -> Ending:
        """See `ports.Orders`."""
        log.info("broker.ordered", tool=order.tool, words=len(order.argv))
        return await self._served.get(order.tool, self._otherwise).order(order, show)

    async def foresee(self, asked: Asked, cwd: str) -> Asked:
        """Return what an agent asks for as it will come to the door, if it will and we can tell.

        So people see what exactly would be done, and are asked once.
        """
        words = ordered(asked.call)
        if not words:
            return asked
        service = self._served.get(words[0].rpartition("/")[2])
        if service is None:
            return asked
        tool = words[0].rpartition("/")[2]
        order = Order(tool=tool, argv=words[1:], cwd=asked.call.cwd or cwd)
        call = await service.foresee(order)
        return asked if call is None else replace(asked, call=call, foreseen=True)


async def refuse(show: Show, text: str) -> Ending:
    """Say why something is not done, and what to do."""
    await show.error(f"{text}\n".encode())
    return Ending(exit_code=NOT_DONE)
