"""What can be asked about notifications: by their users, and by the service that delivers them."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from events.command import Command
from events.ids import ID_MAX
from events.instant import Instant
from events.notification import NotificationType, Origin, Resolution

CHANNELS_MAX = 20
"""Channels of one task, project or user."""
DEBOUNCE_MAX_SEC = 300

Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Person = Annotated[str, Meta(min_length=1, max_length=128)]
Masked = Annotated[str, Meta(max_length=300)]
Line = Annotated[str, Meta(max_length=500)]
Count = Annotated[int, Meta(ge=0, le=1_000)]
Position = Annotated[int, Meta(ge=0, le=ID_MAX)]


class Delivery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One channel a notification is to be carried to."""

    delivery_id: UUID
    channel: Masked
    channel_sha256: Sha256
    origin: Origin
    due_at: Instant


Deliveries = Annotated[list[Delivery], Meta(max_length=3 * CHANNELS_MAX)]


class CreateNotification(Command, frozen=True, kw_only=True):
    """Tell somebody of an event that happened ``at``; sent by the notifier."""

    notification_id: UUID
    user: Person
    kind: NotificationType
    title: Annotated[str, Meta(min_length=1, max_length=255)]
    event_id: UUID
    at: Instant
    content: Annotated[str, Meta(max_length=4_000)] = ""
    task_id: Position | None = None
    project_id: Position | None = None
    confirmation_id: UUID | None = None
    expires_at: Instant | None = None
    remind_at: Annotated[list[Instant], Meta(max_length=10)] = []
    deliveries: Deliveries = []


class ReportDelivery(Command, frozen=True, kw_only=True):
    """What became of an attempt to deliver: without an ``error`` it was sent.

    With an error it is tried again at ``next_at``, or never.
    """

    delivery_id: UUID
    attempt: Annotated[int, Meta(ge=1, le=100)]
    message_id: UUID
    detail: Line = ""
    error: Line = ""
    next_at: Instant | None = None


class RemindUser(Command, frozen=True, kw_only=True):
    """Remind of a confirmation for the ``number``-th time, through the channels it went to."""

    number: Annotated[int, Meta(ge=1, le=10)]
    deliveries: Deliveries = []


class ResolveNotification(Command, frozen=True, kw_only=True):
    """Its confirmation waits no more."""

    outcome: Resolution
    by: Annotated[str, Meta(max_length=200)] = ""
    reason: Line = ""


class ClickNotification(Command, frozen=True, kw_only=True):
    """Its link was opened."""

    by: Annotated[str, Meta(max_length=200)] = ""


class MarkRead(Command, frozen=True, kw_only=True):
    """Mark a notification of one's own as read, or as new again."""

    read: bool = True


class SetChannel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A channel for settings: masked and sealed, or by its hash alone one that is there already."""

    sha256: Sha256
    channel: Masked = ""
    sealed: Annotated[str, Meta(max_length=8_192)] = ""


class ChangeSettings(Command, frozen=True, kw_only=True):
    """Give the named settings new values; ``channels`` are all there are to be."""

    channels: Annotated[list[SetChannel], Meta(max_length=CHANNELS_MAX)] | UnsetType = UNSET
    quiet: Annotated[list[NotificationType], Meta(max_length=10)] | UnsetType = UNSET
    debounce_sec: Annotated[int, Meta(ge=0, le=DEBOUNCE_MAX_SEC)] | UnsetType = UNSET


class ReportChannel(Command, frozen=True, kw_only=True):
    """A channel of a user's takes no messages; without a ``reason`` it does again."""

    user: Person
    sha256: Sha256
    channel: Masked = ""
    reason: Line = ""
    disabled: bool = False


class MarkAllRead(Command, frozen=True, kw_only=True):
    """Mark all notifications of one's own as read, as they were at a position (default: now)."""

    up_to: Position | None = None


NOTIFICATION_ACTIONS: dict[str, type[Command]] = {
    "notification.create": CreateNotification,
    "notification.report": ReportDelivery,
    "notification.remind": RemindUser,
    "notification.resolve": ResolveNotification,
    "notification.click": ClickNotification,
    "notification.mark": MarkRead,
    "notification.settings": ChangeSettings,
    "notification.read_all": MarkAllRead,
    "notification.channel": ReportChannel,
    "notification.project_settings": ChangeSettings,
}
"""The commands about notifications, by ``category.action``."""
