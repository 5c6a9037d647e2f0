"""Who may do what for how long: leases of executions, the lead of a role."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from events.running import Held, LeaseState


class Lease(Struct, frozen=True, kw_only=True):
    """A lease as stored; ``begun`` once its runner renewed it for the first time."""

    task_id: int
    execution_id: UUID
    epoch: int
    runner_id: str
    begun: bool


class Leases(Protocol):
    """Renewal and expiry of leases; making and removing them is part of an append."""

    async def renew(
        self, runner_id: str, held: Sequence[Held], ttl_sec: float
    ) -> dict[UUID, LeaseState]:
        """Extend those of ``held`` this runner really holds; say of each what it is now."""
        ...

    async def expired(self) -> tuple[list[Lease], datetime]:
        """Return the leases past their expiry, and what the store's clock showed that says so.

        Whoever sets that clock ahead ends all leases at once.
        """
        ...


class Rejections(Protocol):
    """Where what came from a stale lease is kept for forensics."""

    async def keep(
        self, *, stream: str, command_id: str, actor: str, reason: str, body: bytes
    ) -> None:
        """Keep it; never applied to anything."""
        ...


class Leadership(Protocol):
    """One active process per role, by a lease in the store."""

    async def acquire(self, role: str, holder: str, ttl_sec: float) -> bool:
        """Take or extend the lead of a role; false while another holds it."""
        ...

    async def resign(self, role: str, holder: str) -> None:
        """Give the lead up, if held."""
        ...
