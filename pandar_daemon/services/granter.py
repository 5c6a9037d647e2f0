"""The granter: an approval for the whole project becomes a standing grant.

The decision is an event of the task, the grant has a stream of its own: what lies between the two
is made up for here, again and again, until the grant is there. It has an id made of the
confirmation's, so there is one, however often that is asked for.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

import msgspec
import structlog

from events import subjects
from events.grant import CreateGrant
from pandar_daemon.domain.refusals import Refusal, Unavailable
from pandar_daemon.ports import Clock, GrantReads, Leadership
from pandar_daemon.services.asking import Asker
from pandar_daemon.services.leading import Lead

log = structlog.get_logger(__name__)

TICK_SEC: Final = 2.0
LEAD_SEC: Final = 10.0


class Granter:
    """One of these is active at a time; a second would find every grant already made."""

    def __init__(
        self,
        *,
        grants: GrantReads,
        leadership: Leadership,
        asker: Asker,
        clock: Clock,
        holder: str,
    ) -> None:
        """Ask for grants through ``asker`` while ``holder`` leads."""
        self._grants = grants
        self._lead = Lead(leadership, clock, "granter", holder)
        self._asker = asker
        self._refused: set[UUID] = set()

    async def run(self) -> None:
        """Make what is owed until cancelled."""
        await self._lead.run(self._look, TICK_SEC)

    async def _look(self) -> bool:
        await self._lead.look(LEAD_SEC, self._tick)
        return False

    async def _tick(self) -> bool:
        for owed in await self._grants.owed():
            if owed.grant_id not in self._refused:
                await self._make(owed)
        return True

    async def _make(self, owed: CreateGrant) -> None:
        try:
            await self._asker.ask(
                subjects.command("grant.create"),
                msgspec.json.encode(owed),
                f"system-grant-{owed.grant_id}",
            )
        except Refusal as refusal:
            if refusal.is_fault:
                raise Unavailable(str(refusal)) from refusal
            # Who approved may not any more, or it is over already.
            self._refused.add(owed.grant_id)
            log.warning("granter.refused", grant=str(owed.grant_id), reason=str(refusal))
