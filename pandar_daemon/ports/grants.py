"""Standing grants, as the read model knows them: whoever uses one is judged by its own stream."""

from __future__ import annotations

from typing import Protocol

from events.calls import Allowance
from events.grant import CreateGrant
from events.task import Json


class GrantReads(Protocol):
    """What projects consented to beforehand."""

    async def page(self, project_id: int) -> list[Json]:
        """Return the grants of a project, the newest first, those that are over too."""
        ...

    async def get(self, grant_id: str) -> Json | None:
        """Return one grant."""
        ...

    async def owed(self) -> list[CreateGrant]:
        """Return grants that were approved with a confirmation and are not there yet."""
        ...

    async def active(self, project_id: int) -> list[Allowance]:
        """Return what lets something pass now, the oldest first."""
        ...
