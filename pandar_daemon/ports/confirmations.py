"""What is read of confirmations: what waits for people, what they decided, and their links."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from msgspec import Struct

from events.task import Json
from pandar_daemon.ports.reads import Page


class ApprovalLink(Struct, frozen=True, kw_only=True):
    """What an approval link is good for, and whom it speaks for."""

    task_id: int
    project_id: int
    confirmation_id: UUID
    approver: str


class ConfirmationReads(Protocol):
    """Confirmations as JSON objects; ``votes`` are approvals that were not enough alone."""

    async def pending(
        self, projects: frozenset[int] | None, *, cursor: str | None, limit: int
    ) -> Page:
        """Return what waits for people in these projects, the nearest deadline first.

        ``None`` stands for all projects. Raises `Invalid` for a cursor that is none of ours.
        """
        ...

    async def of_task(self, task_id: int) -> list[Json]:
        """Return all confirmations of a task, in the order they were asked for."""
        ...

    async def get(self, confirmation_id: UUID) -> Json | None:
        """Return one confirmation."""
        ...

    async def link(self, token_sha256: str) -> ApprovalLink | None:
        """Return the link whose text has this hash, also when it decides nothing any more."""
        ...
