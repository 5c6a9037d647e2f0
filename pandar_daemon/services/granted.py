"""What a project consented to beforehand, for one execution: looked up, and used, at each call.

So a grant that was given a moment ago counts, and one that was revoked does not, in tasks that run.
"""

from __future__ import annotations

from uuid import UUID

import msgspec
import structlog

from events.calls import Allowance, ToolCall, Verdict
from events.grant import UseGrant
from events.running import Assignment, Granted, ListGrants
from pandar_daemon.domain.judging import judge
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.ports import Clock
from pandar_daemon.services.line import Line

log = structlog.get_logger(__name__)


class Grants:
    """The grants of the project of one execution."""

    def __init__(
        self, assignment: Assignment, line: Line, clock: Clock, workspace: str, home: str
    ) -> None:
        self._assignment = assignment
        self._line = line
        self._clock = clock
        self._places = (workspace, home)

    async def use(self, call: ToolCall) -> UUID | None:
        """Return the grant that lets a call pass, used up once; ``None`` when none does."""
        held = self._line.held
        about = ListGrants(task_id=held.task_id, execution_id=held.execution_id, epoch=held.epoch)
        try:
            answer = await self._line.insist("grants", about)
            for allowance in msgspec.json.decode(answer, type=Granted).items:
                if self._covers(call, allowance) and await self._used(call, allowance):
                    return UUID(allowance.grant_id)
        except Refusal as refusal:  # the lease is over
            log.info("grants.unknown", reason=str(refusal))
        return None

    def _covers(self, call: ToolCall, allowance: Allowance) -> bool:
        judged = judge(call, self._assignment.rules, [allowance], *self._places)
        return judged.verdict is Verdict.ALLOW and judged.allowance == allowance

    async def _used(self, call: ToolCall, allowance: Allowance) -> bool:
        """Return whether it may be used still; its own stream says so."""
        use = UseGrant(
            project_id=self._assignment.project_id,
            task_id=self._assignment.task_id,
            execution_id=self._assignment.execution_id,
            call_sha256=call.sha256,
            use_id=self._clock.new_id(),
        )
        try:
            await self._line.command("grant.use", UUID(allowance.grant_id), use)
        except Refusal as refusal:
            log.info("grant.refused", grant=allowance.grant_id, reason=str(refusal))
            return False
        return True
