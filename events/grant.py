"""Standing grants: what can happen to one, and what can be asked of it.

A grant is consent given beforehand for a project. Everything it let pass is an event in its own
stream, and ends with its time, with its number of uses, or when somebody revokes it.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from events.command import Command
from events.ids import ID_MAX
from events.instant import Instant
from events.task import Event

USES_MAX = 1_000_000
GATES_MAX = 50

Gate = Annotated[str, Meta(min_length=1, max_length=64)]
Gates = Annotated[list[Gate], Meta(min_length=1, max_length=GATES_MAX)]
Pattern = Annotated[str, Meta(max_length=1_000)]
Why = Annotated[str, Meta(max_length=500)]
Number = Annotated[int, Meta(ge=1, le=ID_MAX)]
Uses = Annotated[int, Meta(ge=1, le=USES_MAX)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class GrantCreated(Event, frozen=True, kw_only=True, tag="grant.created"):
    """Somebody consents to calls at ``gates`` that fit ``pattern`` (empty: all of them).

    ``confirmation_id`` is the confirmation it was given in, if it was. Without ``expires_at`` or
    ``uses_max`` it ends by revocation only.
    """

    grant_id: UUID
    project_id: int
    gates: list[str]
    by: str
    pattern: str = ""
    reason: str = ""
    expires_at: Instant | None = None
    uses_max: int | None = None
    confirmation_id: UUID | None = None


class GrantUsed(Event, frozen=True, kw_only=True, tag="grant.used"):
    """It let one call pass, as the ``n``-th, counted from 1."""

    task_id: int
    execution_id: UUID
    call_sha256: str
    n: int
    use_id: UUID


class GrantRevoked(Event, frozen=True, kw_only=True, tag="grant.revoked"):
    """It lets nothing pass any more, not even for tasks that run."""

    by: str
    reason: str = ""


GrantEvent = GrantCreated | GrantUsed | GrantRevoked


class CreateGrant(Command, frozen=True, kw_only=True):
    """Consent to calls of a project beforehand.

    ``by`` is who does, where a service of Pandar's own speaks for them; nobody else may say so.
    """

    grant_id: UUID
    project_id: Number
    gates: Gates
    pattern: Pattern = ""
    reason: Why = ""
    expires_at: Instant | None = None
    uses_max: Uses | None = None
    confirmation_id: UUID | None = None
    by: Annotated[str, Meta(max_length=128)] = ""


class UseGrant(Command, frozen=True, kw_only=True):
    """Let one call pass by it; ``use_id`` tells one use of the same call from the next."""

    project_id: Number
    task_id: Number
    execution_id: UUID
    call_sha256: Sha256
    use_id: UUID


class RevokeGrant(Command, frozen=True, kw_only=True):
    """End it, for tasks that run too."""

    reason: Why = ""
