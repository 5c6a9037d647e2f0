"""The deliverer: sends what is due, and says what came of it.

Each message passes through::

    due (see `domain.outbox`) ─▶ judge: is it still to be sent, by the log? ─▶ whole channel, link
        ─▶ send ─▶ report: sent, or failed and tried again at …, or failed for good

One message at a time is under way through each channel of each user, whatever happens to others;
one that asks for a decision waits for none of them. Dying between send and report sends it again,
under the same message id. A report is repeated until it is answered; it is never the message that
is sent again for a report that was not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import datetime
from typing import Final

import msgspec
import structlog

from events import ids
from events.notifying import ReportChannel, ReportDelivery
from pandar_daemon.domain.notify import reminder
from pandar_daemon.domain.outbox import (
    HOURLY,
    LIMIT,
    Batch,
    Line,
    Route,
    due,
    lines_of,
    retry_at,
    wake_at,
)
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import (
    Channels,
    Clock,
    Delivered,
    EventStore,
    Fate,
    Links,
    NotificationReads,
    Sealer,
)
from pandar_daemon.services.asking import Asker
from pandar_daemon.services.composing import Composer
from pandar_daemon.services.orders import insist, order
from pandar_daemon.services.outgoing import Outgoing
from pandar_daemon.services.targets import Targets

log = structlog.get_logger(__name__)

PAUSE_SEC: Final = 1.0
"""After an outage on our own side, before a message is looked at again."""
ASKING_MAX: Final = 4
"""Messages under way through one channel, when those that begin ask for a decision."""
NO_CHANNEL: Final = Delivered(fate=Fate.REFUSED, detail="nobody names this channel any more")


class Deliverer:
    """Sends; `step` must be called again and again, and soon after ``news`` is set."""

    def __init__(
        self,
        *,
        store: EventStore,
        reads: NotificationReads,
        asker: Asker,
        channels: Channels,
        sealer: Sealer,
        links: Links,
        clock: Clock,
        hourly: int = HOURLY,
    ) -> None:
        """Send through ``channels``, report through ``asker``; ``hourly`` messages to one user."""
        self._hourly = hourly
        self.outgoing = Outgoing(store, reads)
        self.news = asyncio.Event()
        self._asker = asker
        self._channels = channels
        self._targets = Targets(store, sealer)
        self._composer = Composer(links)
        self._clock = clock
        self._sent: dict[Route, deque[datetime]] = {}
        self._under_way: dict[asyncio.Task[None], Batch] = {}

    async def step(self) -> float:
        """Begin to send what is due; return in how many seconds there is more, as is known now.

        Raises ``ConnectionError`` or `Unavailable` when the log cannot be read.
        """
        await self.outgoing.read_up()
        now = self._clock.now()
        await self._remind(now)
        lines = self._lines()
        for batch in due(lines, now, self._sent, self._hourly):
            if self._is_free_for(batch):
                self._begin(batch, now)
        later = wake_at(lines, now, self._sent)
        return PAUSE_SEC if later is None else max((later - now).total_seconds(), 0.0)

    async def idle(self) -> None:
        """Return once nothing is under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def stop(self) -> None:
        """Give up what is under way; it is sent again by whoever goes on."""
        tasks = list(self._under_way)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _lines(self) -> list[Line]:
        """Return all that is to be sent and is not under way."""
        begun = {
            line.delivery.delivery_id for one in self._under_way.values() for line in one.lines
        }
        lines = lines_of(self.outgoing.open)
        return [line for line in lines if line.delivery.delivery_id not in begun]

    def _is_free_for(self, batch: Batch) -> bool:
        beside = sum(one.route == batch.route for one in self._under_way.values())
        return not beside or (batch.asks and beside < ASKING_MAX)

    def _begin(self, batch: Batch, now: datetime) -> None:
        if batch.attempt == 1:
            self._sent.setdefault(batch.route, deque(maxlen=max(LIMIT, self._hourly))).append(now)
        task = asyncio.create_task(self._deliver(batch), name="delivery")
        self._under_way[task] = batch
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        self.news.set()

    async def _deliver(self, batch: Batch) -> None:
        try:
            judged = await self._judge(batch)
            if judged is not None:
                await self._carry(judged)
        except (Unavailable, ConnectionError) as error:
            log.warning("delivery.waiting", reason=str(error))
            await asyncio.sleep(PAUSE_SEC)
        except Exception:  # whatever it was, other messages go on
            log.exception("delivery.failed")
            await asyncio.sleep(PAUSE_SEC)

    async def _judge(self, batch: Batch) -> Batch | None:
        """Return what of a batch is still to be sent, ``None`` for nothing."""
        left = []
        for line in batch.lines:
            told = await self.outgoing.fresh(line.notification.notification_id)
            now = told.deliveries.get(line.delivery.delivery_id)
            if now is None or not now.is_pending or now.attempts != line.delivery.attempts:
                continue
            fresh = Line(told, now)
            if line.asks and not await self._targets.waits(fresh):
                self.outgoing.forget(told.notification_id)  # the notifier is about to resolve it
            else:
                left.append(fresh)
        return msgspec.structs.replace(batch, lines=tuple(left)) if left else None

    async def _carry(self, batch: Batch) -> None:
        user, sha256 = batch.route
        channel = await self._targets.channel(batch.lines[0])
        fault = (await self._targets.settings(user)).broken.get(sha256)
        if channel is None:
            answer = NO_CHANNEL
        elif fault is not None and fault.disabled:
            answer = Delivered(fate=Fate.REFUSED, detail=f"the channel is disabled: {fault.reason}")
        else:
            answer = await self._channels.send(channel, await self._composer.notice(batch))
        again = self._again(batch, answer)
        for line in batch.lines:
            await self._report(batch, line, answer, again)
        if answer is not NO_CHANNEL and again is None:
            await self._report_channel(batch, answer, is_broken=fault is not None)
        for line in batch.lines:
            await self.outgoing.fresh(line.notification.notification_id)

    def _again(self, batch: Batch, answer: Delivered) -> datetime | None:
        if answer.fate is not Fate.LATER:
            return None
        now, dice = self._clock.now(), self._clock.new_id()
        return retry_at(batch.attempt, now, dice, retry_after_sec=answer.retry_after_sec)

    async def _report(
        self, batch: Batch, line: Line, answer: Delivered, again: datetime | None
    ) -> None:
        sent = answer.fate is Fate.SENT
        delivery, target = line.delivery, line.notification.notification_id
        report = ReportDelivery(
            delivery_id=delivery.delivery_id,
            attempt=delivery.attempts + 1,
            message_id=batch.message_id,
            detail=answer.detail[:500] if sent else "",
            error="" if sent else (answer.detail or answer.fate)[:500],
            next_at=again,
        )
        name = f"system-nr-{delivery.delivery_id.hex}-{report.attempt}"
        await insist(self._asker, "notification.report", target, report, name)

    async def _report_channel(self, batch: Batch, answer: Delivered, *, is_broken: bool) -> None:
        """Take note of a channel that fails for good, or of one that works again."""
        user, sha256 = batch.route
        works, gone = answer.fate is Fate.SENT, answer.fate is Fate.GONE
        if works is not is_broken and not gone:
            return  # as was known
        report = ReportChannel(
            user=user,
            sha256=sha256,
            channel=batch.lines[0].delivery.channel,
            reason="" if works else (answer.detail or answer.fate)[:500],
            disabled=gone,
        )
        name = f"system-nx-{batch.message_id.hex}-{batch.attempt}"
        await insist(self._asker, "notification.channel", ids.settings_id(user), report, name)

    async def _remind(self, now: datetime) -> None:
        for told in list(self.outgoing.open):
            if not told.remind_at or told.remind_at[0] > now:
                continue
            command = reminder(told)
            name = f"system-nm-{told.notification_id.hex}-{command.number}"
            try:
                await order(self._asker, "notification.remind", told.notification_id, command, name)
            except Unavailable as error:
                log.info("delivery.reminder_waits", reason=str(error))
                return
            await self.outgoing.fresh(told.notification_id)
