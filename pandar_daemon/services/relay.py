"""The relay: puts the log on the bus, every event, in order, at its own position.

The stream's last sequence is the relay's whole memory: it publishes what comes after, each message
fenced by its predecessor. There is no outbox and no flag to drift. Two relays may believe they
lead; the fence lets one of them through and tells the other to look again. A bus of our own may
lose what it has just acknowledged, in a crash or for want of disk: so the end of the stream is
looked at again when the connection was made anew, and once nothing has come for a second.

    stream behind log    publish the rest (a lost stream is rebuilt from 1 like this)
    stream equal         wait for the bell
    stream ahead of log, or one of its last events another one than the log has there
                         Postgres was restored from a backup, or somebody else wrote to the
                         stream: publish nothing, raise the alarm, and go on only in a new epoch,
                         by ``pandar epoch advance``
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from events.envelope import Recorded
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import (
    Clock,
    EventStore,
    EventStream,
    Head,
    Leadership,
    StreamBehind,
    Told,
)
from pandar_daemon.services.bell import Bell
from pandar_daemon.services.feed import INBOX_MAX
from pandar_daemon.services.leading import Lead
from pandar_daemon.services.lifecycle import heed_cancellation
from pandar_daemon.telemetry import Metrics

log = structlog.get_logger(__name__)

BATCH = 500
LEAD_SEC = 6.0
HEAD_SEC = 1.0
"""The end of the log is looked at this often while events come, and whenever none does."""
AUDIT_SEC = 60.0
PAUSE_SEC = 1.0
TOLD_MAX = INBOX_MAX
"""Who follows is told of no event that so many came after: who is that far behind reads the log."""
LOOKED_AT = 512
"""So many last events are compared: a foreign one is followed by no more than are in flight."""
_HINT = (
    "Postgres seems restored from a backup, or others write to the stream; see"
    " `pandar epoch advance`"
)


class Relay:
    """One of these is active at a time.

    ``ahead_by`` is how far the stream was last seen past the log, ``diverged`` whether one of its
    last events is not the log's: in both cases nothing is published.
    """

    def __init__(
        self,
        *,
        store: EventStore,
        stream: EventStream,
        told: Told,
        leadership: Leadership,
        bell: Bell,
        clock: Clock,
        metrics: Metrics,
        holder: str,
    ) -> None:
        """Publish ``store`` on ``stream``, and tell it to ``told``, while ``holder`` leads."""
        self._store = store
        self._stream = stream
        self._told = told
        self._lead = Lead(leadership, clock, "relay", holder)
        self._bell = bell
        self._clock = clock
        self._metrics = metrics
        self._head = 0
        self._look_at = 0.0
        self._opened: float | None = None
        self._is_sure = True
        self.ahead_by = 0
        self.diverged = False

    async def run(self) -> None:
        """Relay until cancelled; a bus or database that is away is waited for."""
        await self._lead.run(self._look, PAUSE_SEC)

    async def _look(self) -> bool:
        return await self._lead.look(LEAD_SEC, self._relay)

    async def _relay(self) -> bool:
        """Publish until it is time to look anew; false without the lead, or out of step."""
        audit_at = self._clock.boottime() + AUDIT_SEC
        epoch = (await self._store.head()).epoch
        last = await self._open(epoch)
        async with self._told.led_here():
            return await self._relay_after(last, epoch, audit_at)

    async def _relay_after(self, last: int, epoch: int, audit_at: float) -> bool:
        """Publish what comes after a position."""
        grown = True
        while (now := self._clock.boottime()) < audit_at:
            heed_cancellation()
            if not await self._lead.held(LEAD_SEC):
                return False
            batch = await self._store.read_all(after=last, limit=BATCH) if grown else []
            if not batch or now >= self._look_at:
                head = await self._store.head()  # after `last`: it is behind only if it went back
                self._look_at = now + HEAD_SEC
                if head.epoch != epoch:
                    return True
                if not self._in_step(head, last) or self.diverged:
                    return False
            try:
                last = await self._publish_after(last, batch)
                grown = len(batch) == BATCH or last < self._head or await self._heard_after(last)
            except StreamBehind as reason:
                last, grown = await self._open(epoch), True
                log.info("relay.looks_again", last=last, reason=str(reason))
        return True

    async def _publish_after(self, last: int, batch: Sequence[Recorded]) -> int:
        """Return the last sequence then; raises `StreamBehind`."""
        if self._stream.up_since != self._opened:
            raise StreamBehind("the connection is another one")
        if batch:
            if self._head - last <= TOLD_MAX:
                self._told.tell(batch)
            last = await self._stream.publish(batch)
            self._is_sure = False
            self._metrics.relayed(len(batch))
            self._metrics.heads(log=max(self._head, last), bus=last)
        return last

    async def _heard_after(self, last: int) -> bool:
        """Wait until the log may have grown; raises `StreamBehind` if the stream went back."""
        if await self._bell.wait():  # what came after the batch was read has rung it
            return True
        if not self._is_sure:
            self._is_sure = True
            if (now := await self._stream.last()) != last:
                msg = f"it ends at {now}, and has acknowledged {last}"
                raise StreamBehind(msg)
        return False

    async def _open(self, epoch: int) -> int:
        """Open the stream and see whether its last events are the log's; return its sequence."""
        self._opened = self._stream.up_since  # before: what is gone later is looked for again
        last = await self._stream.open(epoch)
        self._look_at = 0.0
        before, self.diverged = self.diverged, False
        if not await agree(self._store, self._stream, epoch, last):
            self.diverged = True
            if not before:
                log.error("relay.stream_differs_from_log", position=last, hint=_HINT)
        return last

    def _in_step(self, head: Head, last: int) -> bool:
        before, self.ahead_by = self.ahead_by, max(0, last - head.position)
        self._head = head.position
        self._metrics.heads(log=head.position, bus=last)
        self._metrics.out_of_step(ahead_by=self.ahead_by, diverged=self.diverged)
        if self.ahead_by and self.ahead_by != before:
            log.error(
                "relay.stream_ahead_of_log",
                log=head.position,
                stream=last,
                hint=_HINT,
            )
        return not self.ahead_by


async def agree(store: EventStore, stream: EventStream, epoch: int, last: int) -> bool:
    """Tell whether a stream's last events, up to sequence ``last``, are the log's where it has any.

    Raises `Unavailable` when the stream does not show them.
    """
    after = max(0, last - LOOKED_AT)
    wanted = await store.read_all(after=after, limit=last - after) if last else []
    while wanted:
        try:
            found = await stream.stored(epoch, after=after, limit=len(wanted))
        except ValueError:  # one of them is no event at all
            return False
        if not found:
            raise Unavailable("the stream does not show its last events yet")
        if any(map(_are_other, found, wanted)):
            return False
        wanted, after = wanted[len(found) :], after + len(found)
    return True


def _are_other(found: Recorded, wanted: Recorded) -> bool:
    return (found.position, found.event_id) != (wanted.position, wanted.event_id)
