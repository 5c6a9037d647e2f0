"""Confirmations: what was asked, who approved so far, what was decided, and their links.

Most of what ends a wait without a decision is an event of the task that names no confirmation.
Since a task has at most one open at a time, such an end is a row of its own: it belongs to the
confirmation asked for last before it. `open_confirmations` holds the open one of each task.
"""

from __future__ import annotations

from datetime import datetime
from functools import singledispatch
from typing import Final
from uuid import UUID

from events.envelope import Recorded
from events.task import (
    ApprovalGiven,
    CancelRequested,
    ChangesRequested,
    ConfirmationEscalated,
    ConfirmationExpired,
    ConfirmationRequested,
    ConfirmationWithdrawn,
    Event,
    LinkIssued,
    Status,
    TaskCancelled,
    TaskCompleted,
    TaskConfirmed,
    TaskDeleted,
    TaskDenied,
    TaskFailed,
    TaskPaused,
    TaskRetried,
)
from projections.base import (
    Change,
    Delete,
    ReadModel,
    Row,
    Upsert,
    project_id,
    storable,
    task_id,
    types_of,
)
from projections.confirmation_tables import (
    APPROVED,
    CANCELLED,
    CHANGES,
    DENIED,
    ENDS_TABLE,
    EXPIRED,
    LINKS_TABLE,
    OPEN_TABLE,
    PENDING,
    TABLE,
    TABLES,
    VOTES_TABLE,
    WITHDRAWN,
)

_USER: Final = "user:"


@singledispatch
def _changes(_event: Event, _recorded: Recorded) -> list[Change]:
    return []


def _on(recorded: Recorded, event: Event) -> list[Change]:
    return _CASES.get(type(event), _changes)(event, recorded)


@_changes.register
def _requested(event: ConfirmationRequested, recorded: Recorded) -> list[Change]:
    task, project = task_id(recorded), project_id(recorded)
    row: Row = {
        "project_id": project,
        "execution_id": event.execution_id,
        "gate": storable(event.gate),
        "card": event.card,
        "card_sha256": event.card_sha256,
        "requested_at": recorded.recorded_at,
        "expires_at": event.expires_at,
        "on_timeout": event.on_timeout.value,
        "escalated": False,
        "quorum": event.quorum,
        "prevent_self_approval": event.prevent_self_approval,
        "status": PENDING,
        "position": recorded.position,
    }
    waits: Row = {
        "confirmation_id": event.confirmation_id,
        "project_id": project,
        "expires_at": event.expires_at,
    }
    return [
        Upsert(TABLE.name, (task, event.confirmation_id), row),
        Upsert(OPEN_TABLE.name, (task,), waits),
    ]


@_changes.register
def _escalated(event: ConfirmationEscalated, recorded: Recorded) -> list[Change]:
    task, until = task_id(recorded), event.expires_at
    row: Row = {"escalated": True, "expires_at": until}
    return [
        Upsert(TABLE.name, (task, event.confirmation_id), row),
        Upsert(OPEN_TABLE.name, (task,), {"expires_at": until}),
    ]


@_changes.register
def _vote(event: ApprovalGiven, recorded: Recorded) -> list[Change]:
    key = (task_id(recorded), event.confirmation_id, storable(event.by))
    row: Row = {"at": recorded.recorded_at, "reason": storable(event.reason)}
    return [Upsert(VOTES_TABLE.name, key, row)]


@_changes.register
def _link(event: LinkIssued, recorded: Recorded) -> list[Change]:
    row: Row = {
        "confirmation_id": event.confirmation_id,
        "approver": storable(event.approver),
        "issued_at": recorded.recorded_at,
    }
    return [Upsert(LINKS_TABLE.name, (task_id(recorded), event.token_sha256), row)]


@_changes.register
def _confirmed(event: TaskConfirmed, recorded: Recorded) -> list[Change]:
    row = _decision(APPROVED, event.by, event.reason, recorded)
    row |= {
        "scope": event.scope.value,
        "pattern": storable(event.pattern),
        "uses": event.uses,
        "until": event.until,
    }
    return _closed(recorded, event.confirmation_id, row)


@_changes.register
def _denied(event: TaskDenied, recorded: Recorded) -> list[Change]:
    row = _decision(DENIED, event.by, event.reason, recorded)
    return _closed(recorded, event.confirmation_id, row)


@_changes.register
def _changed(event: ChangesRequested, recorded: Recorded) -> list[Change]:
    row = _decision(CHANGES, event.by, event.reason, recorded)
    return _closed(recorded, event.confirmation_id, row)


@_changes.register
def _expired(event: ConfirmationExpired, recorded: Recorded) -> list[Change]:
    return _closed(recorded, event.confirmation_id, _decision(EXPIRED, "", "", recorded))


@_changes.register
def _withdrawn(event: ConfirmationWithdrawn, recorded: Recorded) -> list[Change]:
    row = _decision(WITHDRAWN, "", event.reason, recorded)
    return _closed(recorded, event.confirmation_id, row)


def _decision(status: str, by: str, reason: str, recorded: Recorded) -> Row:
    at: datetime = recorded.recorded_at
    who = storable(by) or None
    return {"status": status, "decided_by": who, "decided_at": at, "reason": storable(reason)}


def _closed(recorded: Recorded, confirmation_id: UUID, row: Row) -> list[Change]:
    task = task_id(recorded)
    return [
        Upsert(TABLE.name, (task, confirmation_id), row),
        Delete(OPEN_TABLE.name, (task,)),
    ]


@_changes.register
def _cancelled(event: CancelRequested | TaskCancelled, recorded: Recorded) -> list[Change]:
    by = recorded.actor.removeprefix(_USER) if recorded.actor.startswith(_USER) else ""
    return _end(event.from_status, CANCELLED, by, event.reason, recorded)


@_changes.register
def _over(
    event: TaskCompleted | TaskFailed | TaskPaused | TaskRetried, recorded: Recorded
) -> list[Change]:
    return _end(event.from_status, WITHDRAWN, "", recorded.type.replace(".", " "), recorded)


def _end(
    from_status: Status, status: str, by: str, reason: str, recorded: Recorded
) -> list[Change]:
    """End the confirmation that is open; there is one exactly while the task waits for it."""
    if from_status is not Status.WAITING_CONFIRMATION:
        return []
    task = task_id(recorded)
    row: Row = {
        "status": status,
        "at": recorded.recorded_at,
        "by": storable(by) or None,
        "reason": storable(reason),
    }
    return [
        Upsert(ENDS_TABLE.name, (task, recorded.position), row),
        Delete(OPEN_TABLE.name, (task,)),
    ]


@_changes.register
def _deleted(_event: TaskDeleted, recorded: Recorded) -> list[Change]:
    task = task_id(recorded)
    return [Delete(table.name, (task,)) for table in TABLES]


_CASES: Final = _changes.registry

CONFIRMATIONS: Final = ReadModel(
    name="confirmations", version=1, tables=TABLES, handles=types_of(_CASES), on=_on
)
