"""Who speaks."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from pandar_daemon.domain.access import Principal


class Verifier(Protocol):
    """Tells who speaks."""

    async def verify(self, token: str) -> Principal:
        """Return whom a bearer token speaks for; raises `Unauthenticated`."""
        ...

    async def verify_proof(
        self, proof: str, *, subject: str, command_id: str, body: bytes, at: datetime
    ) -> Principal:
        """Return who queued this very command by ``at``; raises `Unauthenticated`."""
        ...
