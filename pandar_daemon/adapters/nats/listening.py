"""What a connection listens to, made again on every client."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from nats.errors import Error

from pandar_daemon.adapters.nats.client import GuardedClient, OnMessage
from pandar_daemon.domain.refusals import Unavailable


@dataclass(frozen=True, slots=True)
class Route:
    """Messages on a subject go to a function that returns at once; one member of a queue each."""

    subject: str
    on_message: OnMessage
    queue: str = ""


@dataclass(eq=False, slots=True)
class Listener:
    """Some routes and their subscriptions on the present client."""

    routes: tuple[Route, ...]
    on_up: Callable[[], None]
    client: GuardedClient | None = None
    subscriptions: list[int] = field(default_factory=list)

    async def subscribe(self, client: GuardedClient) -> None:
        """Subscribe on this client, once; raises `Unavailable` when it is gone."""
        if self.client is client:
            return
        self.client, self.subscriptions = client, []
        try:
            for route in self.routes:
                number = await client.hear(route.subject, route.queue, route.on_message)
                self.subscriptions.append(number)
        except Error as error:
            raise Unavailable("the bus is away") from error

    async def drain(self) -> None:
        """End the subscriptions, even cancelled; what the server has already sent is routed."""
        if self.client is not None:
            with contextlib.suppress(Error, OSError):
                await self.client.leave(self.subscriptions)
