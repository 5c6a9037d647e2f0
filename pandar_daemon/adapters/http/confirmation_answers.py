"""The shapes of what is answered about confirmations, for the description of the API."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from events.calls import Scope
from events.instant import Instant
from events.task import Json, OnTimeout
from pandar_daemon.adapters.http.answers import Answer


class Vote(Answer, frozen=True, kw_only=True):
    """An approval that was not enough alone."""

    by: str
    at: Instant
    reason: str


class Confirmation(Answer, frozen=True, kw_only=True):
    """What a task asked people, and what became of it.

    ``card`` is what they see, ``card_sha256`` what a decision quotes. ``decided_by`` is ``null``
    for one that expired or was withdrawn; for a cancelled one it is who cancelled the task.
    """

    id: UUID
    task_id: int
    project_id: int
    execution_id: UUID
    gate: str
    card: Json
    card_sha256: str
    requested_at: Instant
    expires_at: Instant
    on_timeout: OnTimeout
    escalated: bool
    quorum: int
    prevent_self_approval: bool
    votes: list[Vote]
    status: Literal["pending", "approved", "denied", "changes", "expired", "withdrawn", "cancelled"]
    decided_by: str | None
    decided_at: Instant | None
    reason: str | None
    scope: Scope | None
    pattern: str | None
    uses: int | None
    until: Instant | None


class ConfirmationPage(Answer, frozen=True, kw_only=True):
    """Some confirmations; ``next_cursor`` goes on after them, and is ``null`` at the end."""

    items: list[Confirmation]
    limit: int
    next_cursor: str | None


class ConfirmationHistory(Answer, frozen=True, kw_only=True):
    """Some confirmations of a task, first to last."""

    items: list[Confirmation]
    total: int
    page: int
    limit: int


class Link(Answer, frozen=True, kw_only=True):
    """Where its maker decides without a token, until then."""

    url: str
    expires_at: Instant
