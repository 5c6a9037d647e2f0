"""Notifications as their users see them, and what is still to be sent of them.

Whether one was read is two statements: the last one about it alone, at ``marked_at``, and the
user's last "all of them", which counts for what was marked, or made, up to ``read_up_to``.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from events.envelope import Recorded
from events.ids import id_of
from events.notification import (
    DeliveryFailed,
    DeliveryRequested,
    DeliverySent,
    NotificationClicked,
    NotificationCreated,
    NotificationDecided,
    NotificationRead,
    NotificationReminded,
    NotificationUnread,
    ReadAll,
)
from events.task import Event
from projections.base import Change, ReadModel, Row, Table, Upsert, storable

NOTIFICATIONS_TABLE: Final = Table(
    name="notifications",
    columns=(
        ("id", "uuid"),
        ("user_id", "text"),
        ("type", "text"),
        ("title", "text"),
        ("content", "text"),
        ("task_id", "bigint"),
        ("project_id", "bigint"),
        ("confirmation_id", "uuid"),
        ("event_id", "uuid"),
        ("created_at", "timestamptz"),
        ("sent_at", "timestamptz"),
        ("clicked_at", "timestamptz"),
        ("expires_at", "timestamptz"),
        ("remind_at", "timestamptz"),
        ("decided_at", "timestamptz"),
        ("outcome", "text"),
        ("decided_by", "text"),
        ("is_read", "boolean"),
        ("marked_at", "bigint"),
        ("position", "bigint"),
    ),
    key=("id",),
    indexes=(
        "(user_id, position)",
        "(user_id, position) WHERE NOT is_read",
        "(confirmation_id) WHERE confirmation_id IS NOT NULL",
        "(remind_at) WHERE remind_at IS NOT NULL",
    ),
)
DELIVERIES_TABLE: Final = Table(
    name="deliveries",
    columns=(
        ("notification_id", "uuid"),
        ("id", "uuid"),
        ("channel", "text"),
        ("channel_sha256", "text"),
        ("origin", "text"),
        ("reminder", "bigint"),
        ("requested_at", "timestamptz"),
        ("due_at", "timestamptz"),
        ("status", "text"),
        ("attempts", "bigint"),
        ("message_id", "uuid"),
        ("detail", "text"),
    ),
    key=("notification_id", "id"),
    indexes=("(due_at) WHERE status = 'pending'",),
)
READERS_TABLE: Final = Table(
    name="notification_readers",
    columns=(("user_id", "text"), ("read_up_to", "bigint")),
    key=("user_id",),
)


def _on(recorded: Recorded, event: Event) -> list[Change]:
    match event:
        case ReadAll():
            up_to = recorded.position if event.up_to is None else event.up_to
            return [Upsert(READERS_TABLE.name, (event.user,), {"read_up_to": up_to})]
        case DeliveryRequested() | DeliverySent() | DeliveryFailed():
            key = (_notification(recorded), event.delivery_id)
            changes: list[Change] = [Upsert(DELIVERIES_TABLE.name, key, _delivery(recorded, event))]
            if isinstance(event, DeliverySent):
                changes.append(_row(recorded, {"sent_at": recorded.recorded_at}))
            return changes
        case _:
            row = _values(recorded, event)
            return [_row(recorded, row)] if row else []


def _notification(recorded: Recorded) -> UUID:
    return UUID(id_of(recorded.stream))


def _row(recorded: Recorded, values: Row) -> Change:
    return Upsert(NOTIFICATIONS_TABLE.name, (_notification(recorded),), values)


def _values(recorded: Recorded, event: Event) -> Row:
    match event:
        case NotificationCreated():
            return _created(recorded, event)
        case NotificationReminded():
            return {"remind_at": event.next_at}
        case NotificationClicked():
            return {"clicked_at": recorded.recorded_at}
        case NotificationDecided():
            return {
                "decided_at": recorded.recorded_at,
                "outcome": event.outcome.value,
                "decided_by": storable(event.by),
                "remind_at": None,
            }
        case NotificationRead() | NotificationUnread():
            read = isinstance(event, NotificationRead)
            return {"is_read": read, "marked_at": recorded.position}
        case _:
            return {}


def _created(recorded: Recorded, event: NotificationCreated) -> Row:
    return {
        "user_id": event.user,
        "type": event.kind.value,
        "title": storable(event.title),
        "content": storable(event.content),
        "task_id": event.task_id,
        "project_id": event.project_id,
        "confirmation_id": event.confirmation_id,
        "event_id": event.event_id,
        "created_at": event.at,
        "expires_at": event.expires_at,
        "remind_at": event.remind_at[0] if event.remind_at else None,
        "is_read": False,
        "marked_at": recorded.position,
        "position": recorded.position,
    }


def _delivery(recorded: Recorded, event: DeliveryRequested | DeliverySent | DeliveryFailed) -> Row:
    if isinstance(event, DeliveryRequested):
        return {
            "channel": storable(event.channel),
            "channel_sha256": event.channel_sha256,
            "origin": event.origin.value,
            "reminder": event.reminder,
            "requested_at": recorded.recorded_at,
            "due_at": event.due_at,
            "status": "pending",
            "attempts": 0,
        }
    row: Row = {"attempts": event.attempt, "message_id": event.message_id}
    if isinstance(event, DeliverySent):
        return {**row, "status": "sent", "detail": storable(event.detail)}
    if event.next_at is None:
        return {**row, "status": "failed", "detail": storable(event.error)}
    return {**row, "due_at": event.next_at, "detail": storable(event.error)}


NOTIFICATIONS: Final = ReadModel(
    name="notifications",
    version=1,
    tables=(NOTIFICATIONS_TABLE, DELIVERIES_TABLE, READERS_TABLE),
    handles=("notification.", "settings.read_all"),
    on=_on,
)
