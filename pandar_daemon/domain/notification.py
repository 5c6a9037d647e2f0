"""The notification decider: what one user is told of one event, and what became of each message.

Attempts count from 1, and a report of an attempt that is over changes nothing: two services may
deliver the same message, as after a crash, and the first report stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never
from uuid import UUID

from events import notification as did
from events import notifying as do
from pandar_daemon.domain.notification_state import DeliveryStatus, Notification
from pandar_daemon.domain.refusals import NotFound, Rejected

NotificationCommand = (
    do.CreateNotification
    | do.ReportDelivery
    | do.RemindUser
    | do.ResolveNotification
    | do.ClickNotification
    | do.MarkRead
)


def decide(
    notification: Notification, command: NotificationCommand, user: str
) -> list[did.NotificationEvent]:
    """Return what the command makes happen, perhaps nothing.

    Raises `NotFound` for one that is not there, or not ``user``'s to mark; `Rejected` for what the
    rules forbid.
    """
    if isinstance(command, do.CreateNotification):
        return _create(notification, command)
    what = f"notification {notification.notification_id}"
    if not notification.user:
        raise NotFound(what)
    match command:
        case do.ReportDelivery():
            return _report(notification, command)
        case do.RemindUser():
            return _remind(notification, command)
        case do.ResolveNotification():
            return _resolve(notification, command)
        case do.ClickNotification():
            return [] if notification.clicked else [did.NotificationClicked(by=command.by)]
        case do.MarkRead():
            if user != notification.user:
                raise NotFound(what)
            return _mark(notification, read=command.read)
        case _:
            assert_never(command)


def _create(
    notification: Notification, command: do.CreateNotification
) -> list[did.NotificationEvent]:
    if notification.user:
        return []  # the notifier read the log again, after a crash
    created = did.NotificationCreated(
        notification_id=notification.notification_id,
        user=command.user,
        kind=command.kind,
        title=command.title,
        content=command.content,
        event_id=command.event_id,
        at=command.at,
        task_id=command.task_id,
        project_id=command.project_id,
        confirmation_id=command.confirmation_id,
        expires_at=command.expires_at,
        remind_at=command.remind_at,
    )
    return [created, *_requested(notification, command.deliveries)]


def _requested(
    notification: Notification, deliveries: Iterable[do.Delivery], *, reminder: int = 0
) -> list[did.NotificationEvent]:
    return [
        did.DeliveryRequested(
            delivery_id=one.delivery_id,
            channel=one.channel,
            channel_sha256=one.channel_sha256,
            origin=one.origin,
            due_at=one.due_at,
            reminder=reminder,
        )
        for one in deliveries
        if one.delivery_id not in notification.deliveries
    ]


def _report(notification: Notification, command: do.ReportDelivery) -> list[did.NotificationEvent]:
    delivery = notification.deliveries.get(command.delivery_id)
    if delivery is None:
        raise Rejected(f"delivery {command.delivery_id} was never asked for")
    if not delivery.is_pending and (command.error or delivery.status is DeliveryStatus.SENT):
        return []
    if command.attempt <= delivery.attempts:
        return []
    about = (command.delivery_id, command.attempt, command.message_id)
    return [_failed(*about, command) if command.error else _sent(*about, command)]


def _sent(
    delivery: UUID, attempt: int, message: UUID, command: do.ReportDelivery
) -> did.DeliverySent:
    return did.DeliverySent(
        delivery_id=delivery, attempt=attempt, message_id=message, detail=command.detail
    )


def _failed(
    delivery: UUID, attempt: int, message: UUID, command: do.ReportDelivery
) -> did.DeliveryFailed:
    return did.DeliveryFailed(
        delivery_id=delivery,
        attempt=attempt,
        message_id=message,
        error=command.error,
        next_at=command.next_at,
    )


def _remind(notification: Notification, command: do.RemindUser) -> list[did.NotificationEvent]:
    if notification.decided or command.number != notification.reminded + 1:
        return []
    if not notification.remind_at:
        raise Rejected("there is nothing to remind of")
    following = notification.remind_at[1:]
    reminded = did.NotificationReminded(
        number=command.number, next_at=following[0] if following else None
    )
    return [
        reminded,
        *_requested(notification, command.deliveries, reminder=command.number),
    ]


def _resolve(
    notification: Notification, command: do.ResolveNotification
) -> list[did.NotificationEvent]:
    if notification.decided:
        return []
    if notification.confirmation_id is None:
        raise Rejected("it is about no confirmation")
    return [did.NotificationDecided(outcome=command.outcome, by=command.by, reason=command.reason)]


def _mark(notification: Notification, *, read: bool) -> list[did.NotificationEvent]:
    # Also what was read by ``settings.read_all`` is marked anew: that is in another stream.
    if notification.read and read:
        return []
    return [did.NotificationRead() if read else did.NotificationUnread()]
