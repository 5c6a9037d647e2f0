"""What the rules need to know of a notification, and how each event changes it.

Every channel it goes to is a *delivery*, and a reminder is one more::

    PENDING ──sent──▶ SENT
       │ ▲ failed, to be tried again
       │ └──────┘
       ├──failed, for good──▶ FAILED
       └──its confirmation was decided──▶ DROPPED

``evolve`` accepts every recorded event, however old; the rules themselves stand in `notification`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum, auto
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from events import notification as did
from events.notification import NotificationType, Origin
from events.task import Event


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    PENDING = auto()
    SENT = auto()
    FAILED = auto()
    DROPPED = auto()


class Delivery(Struct, frozen=True):
    """One message to one channel; ``message_id`` is that of the last attempt, if there was one."""

    delivery_id: UUID
    channel: str
    channel_sha256: str
    origin: Origin
    due_at: datetime
    status: DeliveryStatus = DeliveryStatus.PENDING
    attempts: int = 0
    message_id: UUID | None = None
    reminder: int = 0

    @property
    def is_pending(self) -> bool:
        """Return whether it is still to be sent."""
        return self.status is DeliveryStatus.PENDING


class Notification(Struct, frozen=True):
    """What the rules need to know of a notification; ``user`` is empty before there is one."""

    notification_id: UUID
    user: str = ""
    kind: NotificationType = NotificationType.SYSTEM_ALERT
    title: str = ""
    content: str = ""
    task_id: int | None = None
    of_project: int | None = None
    confirmation_id: UUID | None = None
    expires_at: datetime | None = None
    event_id: UUID | None = None
    at: datetime | None = None
    remind_at: tuple[datetime, ...] = ()  # those still to come, the ``reminded + 1``-th first
    reminded: int = 0
    read: bool = False
    decided: bool = False
    clicked: bool = False
    deliveries: dict[UUID, Delivery] = {}

    @property
    def project_id(self) -> int:
        """Return 0: a notification is its user's, not to be seen by everybody in a project."""
        return 0

    @property
    def is_open(self) -> bool:
        """Return whether there is something left to send, now or later."""
        return bool(self.remind_at) or any(self.pending())

    def pending(self) -> Iterable[Delivery]:
        """Yield the deliveries that are still to be sent."""
        return (one for one in self.deliveries.values() if one.is_pending)


def initial(notification_id: UUID) -> Notification:
    """Return a notification nobody has got yet."""
    return Notification(notification_id)


def evolve(notification: Notification, event: Event) -> Notification:
    """Return the notification after an event; one it does not know leaves it as it is."""
    match event:
        case did.NotificationCreated():
            return _created(notification, event)
        case did.DeliveryRequested() | did.DeliverySent() | did.DeliveryFailed():
            return _after_delivery(notification, event)
        case did.NotificationReminded():
            return _with(notification, reminded=event.number, remind_at=notification.remind_at[1:])
        case did.NotificationDecided():
            return _after_decided(notification)
        case did.NotificationClicked() | did.NotificationRead() | did.NotificationUnread():
            return _after_look(notification, event)
        case _:
            return notification


def _with(notification: Notification, **changes: object) -> Notification:
    return msgspec.structs.replace(notification, **changes)


def _created(notification: Notification, event: did.NotificationCreated) -> Notification:
    return _with(
        notification,
        user=event.user,
        kind=event.kind,
        title=event.title,
        content=event.content,
        task_id=event.task_id,
        of_project=event.project_id,
        confirmation_id=event.confirmation_id,
        expires_at=event.expires_at,
        event_id=event.event_id,
        at=event.at,
        remind_at=tuple(event.remind_at),
    )


def _after_look(
    notification: Notification,
    event: did.NotificationClicked | did.NotificationRead | did.NotificationUnread,
) -> Notification:
    if isinstance(event, did.NotificationClicked):
        return _with(notification, clicked=True)
    return _with(notification, read=isinstance(event, did.NotificationRead))


def _after_delivery(
    notification: Notification,
    event: did.DeliveryRequested | did.DeliverySent | did.DeliveryFailed,
) -> Notification:
    delivery = notification.deliveries.get(event.delivery_id)
    if isinstance(event, did.DeliveryRequested):
        delivery = Delivery(
            event.delivery_id,
            event.channel,
            event.channel_sha256,
            event.origin,
            event.due_at,
            reminder=event.reminder,
        )
    elif delivery is not None:
        delivery = _after_report(delivery, event)
    if delivery is None:
        return notification
    deliveries = {**notification.deliveries, delivery.delivery_id: delivery}
    return _with(notification, deliveries=deliveries)


_ENDED: Final = {True: DeliveryStatus.SENT, False: DeliveryStatus.FAILED}


def _after_report(delivery: Delivery, event: did.DeliverySent | did.DeliveryFailed) -> Delivery:
    again = event.next_at if isinstance(event, did.DeliveryFailed) else None
    status = _ENDED[isinstance(event, did.DeliverySent)] if again is None else delivery.status
    return msgspec.structs.replace(
        delivery,
        status=status,
        attempts=event.attempt,
        message_id=event.message_id,
        due_at=again or delivery.due_at,
    )


def _after_decided(notification: Notification) -> Notification:
    dropped = {
        one.delivery_id: msgspec.structs.replace(one, status=DeliveryStatus.DROPPED)
        if one.is_pending
        else one
        for one in notification.deliveries.values()
    }
    return _with(notification, decided=True, remind_at=(), deliveries=dropped)
