"""The reaper: what nobody ends by themselves. Expired leases and confirmations become commands.

A lease is only held against a runner that could have renewed it: after this process started, the
bus came back, a look at the database failed or the database's clock was set ahead, everybody gets
one full lease time of grace.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec
import structlog

from events import commands as do
from events import subjects
from pandar_daemon.domain.refusals import Refusal, Unavailable
from pandar_daemon.domain.task_execution import RECOVERY_SEC
from pandar_daemon.ports import Clock, Leadership, Lease, Leases, Wire, WorkQueue
from pandar_daemon.services.asking import Asker
from pandar_daemon.services.leading import Lead

log = structlog.get_logger(__name__)

TICK_SEC = 1.0
LEAD_SEC = 10.0
GRACE_SEC = 4.0
"""The least grace, however short leases are: a reconnection may pause for 3 s."""


class Reaper:
    """One of these is active at a time."""

    def __init__(
        self,
        *,
        leases: Leases,
        queue: WorkQueue,
        leadership: Leadership,
        wire: Wire,
        asker: Asker,
        clock: Clock,
        holder: str,
        lease_ttl_sec: float,
    ) -> None:
        """Send commands through ``asker`` while ``holder`` leads."""
        self._leases = leases
        self._queue = queue
        self._lead = Lead(leadership, clock, "reaper", holder)
        self._wire = wire
        self._asker = asker
        self._clock = clock
        self._ttl = lease_ttl_sec
        self._trouble_at = clock.boottime()
        self._ahead: float | None = None  # how far the database's clock is ahead of boottime

    async def run(self) -> None:
        """Reap until cancelled."""
        await self._lead.run(self._look, TICK_SEC)

    async def _look(self) -> bool:
        if not await self._lead.look(LEAD_SEC, self._tick):
            self._trouble_at = self._clock.boottime()
        return False

    async def _tick(self) -> bool:
        await self._expire()  # by who answers here, perhaps without any bus
        await self._wire.rtt()  # a bus that fell silent may not have been missed yet
        leases, shown = await self._leases.expired()
        self._notice_jump(shown.timestamp())
        if self._fair():
            for lease in leases:
                await self._lose(lease)
        return True

    async def _expire(self) -> None:
        minute = int(self._clock.now().timestamp()) // 60
        for task_id, confirmation_id in await self._queue.expired_confirmations(limit=100):
            # Refused once (another clock may be behind ours), it is asked anew a minute later.
            command_id = f"system-expire-{confirmation_id}-{minute % 1_000_000}"
            command = do.ExpireConfirmation(confirmation_id=confirmation_id)
            await self._ask("task.expire", task_id, command, command_id)

    def _notice_jump(self, shown: float) -> None:
        """Judge nobody by a clock that was set ahead: half a lease is less than all have left."""
        ahead = shown - self._clock.boottime()
        jump = 0.0 if self._ahead is None else ahead - self._ahead
        self._ahead = ahead
        if jump > self._ttl / 2:
            self._trouble_at = self._clock.boottime()
            log.warning("reaper.clock_set_ahead", seconds=round(jump, 1))

    def _fair(self) -> bool:
        up_since = self._wire.up_since
        if up_since is None:
            return False
        return self._clock.boottime() - max(up_since, self._trouble_at) > max(self._ttl, GRACE_SEC)

    async def _lose(self, lease: Lease) -> None:
        log.warning("reaper.lease_expired", task=lease.task_id, runner=lease.runner_id)
        command = do.LoseExecution(
            execution_id=lease.execution_id,
            epoch=lease.epoch,
            begun=lease.begun,
            confirmation_id=self._clock.new_id(),
            expires_at=self._clock.now() + timedelta(seconds=RECOVERY_SEC),
        )
        await self._ask("task.lose", lease.task_id, command, str(self._clock.new_id()))

    async def _ask(self, action: str, task_id: int, command: do.Command, command_id: str) -> None:
        try:
            await self._asker.ask(
                subjects.command(action, None, task_id), msgspec.json.encode(command), command_id
            )
        except Unavailable:
            raise
        except Refusal as refusal:
            log.info("reaper.refused", task=task_id, action=action, reason=str(refusal))
