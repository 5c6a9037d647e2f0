"""The grant decider: what a standing consent lets pass, and when it ends.

    ACTIVE ──revoked──▶ REVOKED
      ├──at ``expires_at``──▶ EXPIRED
      └──after ``uses_max`` uses──▶ EXHAUSTED

Time ends a grant without an event: whoever asks is told by the clock of the asker. A use counts
once, however often it is asked for again.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum, auto
from typing import Final, assert_never
from uuid import UUID

import msgspec
from msgspec import Struct

from events import grant as did
from events.calls import Allowance
from events.grant import CreateGrant, RevokeGrant, UseGrant
from events.task import Event
from pandar_daemon.domain.refusals import NotFound, Rejected
from pandar_daemon.domain.task_rules import Ask

GrantCommand = CreateGrant | UseGrant | RevokeGrant

RECENT_MAX: Final = 100
"""Uses that are remembered, so that one asked for again is not counted again."""

Use = tuple[UUID, str, UUID]
"""Execution, hash of the call, and id of the use."""


class GrantStatus(StrEnum):
    """Whether a grant lets anything pass, and why not."""

    ACTIVE = auto()
    REVOKED = auto()
    EXPIRED = auto()
    EXHAUSTED = auto()


class Grant(Struct, frozen=True):
    """What the rules need to know of a grant; ``by`` is empty before there is one."""

    grant_id: UUID
    project_id: int = 0
    by: str = ""
    gates: tuple[str, ...] = ()
    pattern: str = ""
    expires_at: datetime | None = None
    uses_max: int | None = None
    confirmation_id: UUID | None = None
    uses: int = 0
    recent: tuple[Use, ...] = ()
    revoked_by: str | None = None

    def status(self, at: datetime) -> GrantStatus:
        """Return whether it lets anything pass at a time."""
        if self.revoked_by is not None:
            return GrantStatus.REVOKED
        if self.expires_at is not None and at >= self.expires_at:
            return GrantStatus.EXPIRED
        if self.uses_max is not None and self.uses >= self.uses_max:
            return GrantStatus.EXHAUSTED
        return GrantStatus.ACTIVE

    @property
    def allowance(self) -> Allowance:
        """Return it as a runner is told of it."""
        return Allowance(
            gates=list(self.gates),
            pattern=self.pattern,
            confirmation_id=str(self.confirmation_id or ""),
            grant_id=str(self.grant_id),
        )


def initial(grant_id: UUID) -> Grant:
    """Return a grant nobody has given yet."""
    return Grant(grant_id)


def decide(grant: Grant, command: GrantCommand, ask: Ask) -> list[did.GrantEvent]:
    """Return what the command makes happen, perhaps nothing.

    Raises `NotFound` for a grant that is not there, or of another project; `Rejected`, naming what
    it is, for one that lets nothing pass any more.
    """
    match command:
        case CreateGrant():
            return _create(grant, command, ask)
        case UseGrant():
            return _use(grant, command, ask)
        case RevokeGrant():
            return _revoke(grant, command, ask)
        case _:
            assert_never(command)


def _create(grant: Grant, command: CreateGrant, ask: Ask) -> list[did.GrantEvent]:
    created = did.GrantCreated(
        grant_id=grant.grant_id,
        project_id=command.project_id,
        gates=command.gates,
        by=command.by or ask.user,
        pattern=command.pattern,
        reason=command.reason,
        expires_at=command.expires_at,
        uses_max=command.uses_max,
        confirmation_id=command.confirmation_id,
    )
    if grant.by:
        return _create_again(grant, created)
    if command.expires_at is not None and command.expires_at <= ask.at:
        raise Rejected(f"grant {grant.grant_id} would be over before it begins")
    return [created]


def _create_again(grant: Grant, created: did.GrantCreated) -> list[did.GrantEvent]:
    """Return nothing for the same consent once more, as after a crash; refuse another."""
    now = msgspec.structs.replace(grant, uses=0, recent=(), revoked_by=None)
    if now != evolve(initial(grant.grant_id), created):
        raise Rejected(f"grant {grant.grant_id} exists already")
    return []


def _use(grant: Grant, command: UseGrant, ask: Ask) -> list[did.GrantEvent]:
    if not grant.by or command.project_id != grant.project_id:
        raise NotFound(f"grant {grant.grant_id}")
    if (command.execution_id, command.call_sha256, command.use_id) in grant.recent:
        return []
    status = grant.status(ask.at)
    if status is not GrantStatus.ACTIVE:
        raise Rejected(f"grant {grant.grant_id} is {status}", state=status)
    used = did.GrantUsed(
        task_id=command.task_id,
        execution_id=command.execution_id,
        call_sha256=command.call_sha256,
        n=grant.uses + 1,
        use_id=command.use_id,
    )
    return [used]


def _revoke(grant: Grant, command: RevokeGrant, ask: Ask) -> list[did.GrantEvent]:
    if not grant.by:
        raise NotFound(f"grant {grant.grant_id}")
    if grant.revoked_by is not None:
        return []
    return [did.GrantRevoked(by=ask.user, reason=command.reason)]


def evolve(grant: Grant, event: Event) -> Grant:
    """Return the grant after an event; one it does not know leaves it as it is."""
    match event:
        case did.GrantCreated():
            return Grant(
                grant.grant_id,
                event.project_id,
                event.by,
                tuple(event.gates),
                event.pattern,
                event.expires_at,
                event.uses_max,
                event.confirmation_id,
            )
        case did.GrantUsed():
            use = (event.execution_id, event.call_sha256, event.use_id)
            recent = (*grant.recent, use)[-RECENT_MAX:]
            return msgspec.structs.replace(grant, uses=event.n, recent=recent)
        case did.GrantRevoked():
            return msgspec.structs.replace(grant, revoked_by=event.by)
        case _:
            return grant
