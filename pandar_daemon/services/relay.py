"""The relay: puts the log on the bus, every event, in order, at its own position.

The stream's last sequence is the relay's whole memory: it publishes what comes after, each message
fenced by its predecessor. There is no outbox and no flag to drift. Two relays may believe they
lead; the fence lets one of them through and tells the other to look again.

    stream behind log    publish the rest (a lost stream is rebuilt from 1 like this)
    stream equal         wait for the bell
    stream ahead of log  Postgres was restored from a backup: publish nothing, raise the alarm,
                         and go on only in a new epoch, by ``pandar epoch advance``
"""

from __future__ import annotations

import asyncio

import structlog

from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import Clock, EventStore, EventStream, Head, Leadership, StreamBehind
from pandar_daemon.services.bell import Bell
from pandar_daemon.telemetry import Metrics

log = structlog.get_logger(__name__)

BATCH = 500
LEAD_SEC = 15.0
RENEW_SEC = 5.0
AUDIT_SEC = 60.0
PAUSE_SEC = 1.0


class Relay:
    """One of these is active at a time; `ahead_by` is how far the stream is past the log."""

    def __init__(
        self,
        *,
        store: EventStore,
        stream: EventStream,
        leadership: Leadership,
        bell: Bell,
        clock: Clock,
        metrics: Metrics,
        holder: str,
    ) -> None:
        """Publish ``store`` on ``stream`` while ``holder`` leads."""
        self._store = store
        self._stream = stream
        self._leadership = leadership
        self._bell = bell
        self._clock = clock
        self._metrics = metrics
        self._holder = holder
        self.ahead_by = 0

    async def run(self) -> None:
        """Relay until cancelled; a bus or database that is away is waited for."""
        try:
            while True:
                try:
                    if await self._lead():
                        continue
                except (Unavailable, ConnectionError, OSError) as error:
                    log.warning("relay.waiting", reason=str(error))
                await asyncio.sleep(PAUSE_SEC)
        finally:
            await self._resign()

    async def _resign(self) -> None:
        try:
            async with asyncio.timeout(2):
                await self._leadership.resign("relay", self._holder)
        except (TimeoutError, OSError, ConnectionError):
            log.info("relay.lease_left_to_expire")

    async def _lead(self) -> bool:
        """Publish until it is time for an audit: true; false without the lead, or out of step."""
        if not await self._leadership.acquire("relay", self._holder, LEAD_SEC):
            return False
        renew_at = self._clock.boottime() + RENEW_SEC
        audit_at = self._clock.boottime() + AUDIT_SEC
        head = await self._store.head()
        last = await self._stream.open(head.epoch)
        while self._in_step(head, last):
            try:
                last = await self._publish_after(last)
            except StreamBehind:
                last = await self._stream.open(head.epoch)
                log.info("relay.fence_refused", last=last)
            now = self._clock.boottime()
            if now >= renew_at:
                if not await self._leadership.acquire("relay", self._holder, LEAD_SEC):
                    return False
                renew_at = now + RENEW_SEC
            if now >= audit_at:
                return True
            head = await self._store.head()
        return False

    def _in_step(self, head: Head, last: int) -> bool:
        self.ahead_by = max(0, last - head.position)
        self._metrics.heads(log=head.position, bus=last)
        if self.ahead_by:
            log.error(
                "relay.stream_ahead_of_log",
                log=head.position,
                stream=last,
                hint="Postgres seems restored from a backup; see `pandar epoch advance`",
            )
        return not self.ahead_by

    async def _publish_after(self, last: int) -> int:
        batch = await self._store.read_all(after=last, limit=BATCH)
        if not batch:
            await self._bell.wait()
            return last
        last = await self._stream.publish(batch)
        self._metrics.relayed(len(batch))
        return last
