"""The notifier: tells people what happens, and asks them for decisions.

Model. One process leads. It reads the log on from a durable checkpoint, and two things follow::

    events of tasks, projects, settings ──▶ announcing ──▶ commands: this user is told of that
    events of notifications ──▶ outgoing ──▶ delivery ──▶ channels ──▶ commands: sent, failed

Nothing is missed. The checkpoint moves when all that follows from the events before it has been
answered. Dying anywhere repeats commands, under ids made of the event's own and the user's name: a
repeated one does nothing. What is to be sent is in the log, too, and found again by a query.

Nothing is held up. Announcing waits for the log alone, a message for its own channel alone.

Two may lead for a moment, as after a process was frozen: they send the same commands, and perhaps
the same messages, under the same ids.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Final

import structlog

from pandar_daemon.domain.outbox import HOURLY
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import (
    Channels,
    Checkpoints,
    Clock,
    EventStore,
    Leadership,
    Links,
    NotificationReads,
    Sealer,
)
from pandar_daemon.services.announcing import Announcer
from pandar_daemon.services.asking import Asker
from pandar_daemon.services.delivery import Deliverer
from pandar_daemon.services.feed import Feed
from pandar_daemon.services.leading import Lead
from pandar_daemon.services.pauses import moment

log = structlog.get_logger(__name__)

FOLLOWER: Final = "notifier"
BATCH_MAX: Final = 500
LEAD_SEC: Final = 10.0
TICK_SEC: Final = 1.0
PAUSE_SEC: Final = 1.0
RECOVER_SEC: Final = 10.0
"""How often everything open is asked for. What a lagging read model did not show is found then."""
MOVE_SEC: Final = 1.0
"""How often the checkpoint is kept; what was told since is told again, to no effect."""


class Notifier:
    """One of these is active at a time."""

    def __init__(
        self,
        *,
        store: EventStore,
        feed: Feed,
        reads: NotificationReads,
        checkpoints: Checkpoints,
        leadership: Leadership,
        asker: Asker,
        channels: Channels,
        sealer: Sealer,
        links: Links,
        clock: Clock,
        holder: str,
        hourly: int = HOURLY,
    ) -> None:
        """Follow ``feed`` and send through ``channels`` while ``holder`` leads."""
        self._store = store
        self._feed = feed
        self._checkpoints = checkpoints
        self._lead = Lead(leadership, clock, FOLLOWER, holder)
        self._asker = asker
        self._clock = clock
        self._deliverer = Deliverer(
            store=store,
            reads=reads,
            asker=asker,
            channels=channels,
            sealer=sealer,
            links=links,
            clock=clock,
            hourly=hourly,
        )

    async def run(self) -> None:
        """Tell until cancelled; a bus or database that is away is waited for."""
        try:
            await self._lead.run(self._look, PAUSE_SEC)
        finally:
            await self._deliverer.stop()

    async def _look(self) -> bool:
        return await self._lead.look(LEAD_SEC, self._tell)

    async def _tell(self) -> bool:
        """Tell until the lead is lost; raises what ends the following of the log.

        What is under way then goes on: a message that was sent is to be reported, not sent again.
        """
        following = asyncio.create_task(self._follow(), name="notifier:follow")
        try:
            return await self._deliver(following)
        finally:
            following.cancel()
            await asyncio.wait({following})

    async def _deliver(self, following: asyncio.Task[None]) -> bool:
        deliverer = self._deliverer
        recover_at = self._clock.boottime()
        while await self._lead.held(LEAD_SEC):
            if following.done():
                following.result()
            if self._clock.boottime() >= recover_at:
                await self._recover()
                recover_at = self._clock.boottime() + RECOVER_SEC
            deliverer.news.clear()
            pause = await deliverer.step()
            await moment(deliverer.news, min(pause, TICK_SEC))
        return False

    async def _recover(self) -> None:
        try:
            await self._deliverer.outgoing.recover()
        except Unavailable as error:  # the read model is being made
            log.info("notifier.not_recovered", reason=str(error))

    async def _follow(self) -> None:
        position = await self._checkpoints.position(FOLLOWER)
        announcer = Announcer(self._store, self._asker, position)
        moved_at = self._clock.boottime()
        async with aclosing(self._feed.batches(position, BATCH_MAX)) as batches:
            async for batch in batches:
                for recorded in batch:
                    self._deliverer.outgoing.hear(recorded)
                self._deliverer.news.set()
                await announcer.tell(batch)
                if self._clock.boottime() - moved_at >= MOVE_SEC:
                    await self._checkpoints.move(FOLLOWER, batch[-1].position)
                    moved_at = self._clock.boottime()
