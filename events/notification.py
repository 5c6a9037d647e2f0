"""What can happen to a notification, to the messages that carry it, and to the settings for them.

A channel (``slack://…``, ``webhook:https://…``) holds secrets as a rule. So events show it masked,
tell it from others by its SHA-256, and keep the whole only sealed, in settings.
"""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from events.instant import Instant
from events.task import Event


class NotificationType(StrEnum):
    """What a notification is about."""

    TASK_COMPLETED = "task_completed"
    TASK_FAILED = "task_failed"
    CONFIRMATION_REQUIRED = "confirmation_required"
    SYSTEM_ALERT = "system_alert"


class Origin(StrEnum):
    """Who named a channel."""

    TASK = "task"  # the task's own ``metadata.notify``
    PROJECT = "project"
    USER = "user"


class Resolution(StrEnum):
    """What became of a confirmation."""

    APPROVED = "approved"
    DENIED = "denied"
    CHANGES = "changes"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    OVER = "over"  # the task ended, or is to be cancelled


class NotificationCreated(Event, frozen=True, kw_only=True, tag="notification.created"):
    """Somebody is told of an event; ``event_id`` names it, which happened ``at``.

    ``expires_at`` and ``remind_at`` are those of a confirmation that waits.
    """

    notification_id: UUID
    user: str
    kind: NotificationType
    title: str
    event_id: UUID
    at: Instant
    content: str = ""
    task_id: int | None = None
    project_id: int | None = None
    confirmation_id: UUID | None = None
    expires_at: Instant | None = None
    remind_at: list[Instant] = []


class DeliveryRequested(Event, frozen=True, kw_only=True, tag="notification.delivery_requested"):
    """It is to be carried to ``channel``, shown masked, not before ``due_at``.

    ``reminder`` counts from 1; 0 is the first message.
    """

    delivery_id: UUID
    channel: str
    channel_sha256: str
    origin: Origin
    due_at: Instant
    reminder: int = 0


class DeliverySent(Event, frozen=True, kw_only=True, tag="notification.sent"):
    """The channel took the message, which may have carried others as well."""

    delivery_id: UUID
    attempt: int
    message_id: UUID
    detail: str = ""


class DeliveryFailed(Event, frozen=True, kw_only=True, tag="notification.failed"):
    """The channel did not take it; tried again at ``next_at``, or never."""

    delivery_id: UUID
    attempt: int
    message_id: UUID
    error: str
    next_at: Instant | None = None


class NotificationReminded(Event, frozen=True, kw_only=True, tag="notification.reminded"):
    """Nobody had decided yet at this, the ``number``-th, of the times to remind."""

    number: int
    next_at: Instant | None = None


class NotificationClicked(Event, frozen=True, kw_only=True, tag="notification.clicked"):
    """Its link was opened, by a person or a mail scanner: that decides nothing."""

    by: str = ""


class NotificationDecided(Event, frozen=True, kw_only=True, tag="notification.decided"):
    """Its confirmation waits no more; what was not sent yet is not sent any more."""

    outcome: Resolution
    by: str = ""
    reason: str = ""


class NotificationRead(Event, frozen=True, kw_only=True, tag="notification.read"):
    """Its user has read it."""


class NotificationUnread(Event, frozen=True, kw_only=True, tag="notification.unread"):
    """Its user wants to see it as new again."""


NotificationEvent = (
    NotificationCreated
    | DeliveryRequested
    | DeliverySent
    | DeliveryFailed
    | NotificationReminded
    | NotificationClicked
    | NotificationDecided
    | NotificationRead
    | NotificationUnread
)


class StoredChannel(Struct, frozen=True, kw_only=True):
    """A channel of settings: ``sealed`` is the whole of it, for Pandar alone to read."""

    channel: str
    sha256: str
    sealed: str


class SettingsChanged(Event, frozen=True, kw_only=True, tag="settings.changed"):
    """Some settings of a user, or of a project (``user`` is empty then), got new values.

    Channels that had failed count as whole again. ``quiet`` are types no message is sent about.
    """

    user: str = ""
    channels: list[StoredChannel] | UnsetType = UNSET
    quiet: list[NotificationType] | UnsetType = UNSET
    debounce_sec: int | UnsetType = UNSET


class ChannelFailed(Event, frozen=True, kw_only=True, tag="settings.channel_failed"):
    """A channel of a user's, or of a task or project of theirs, takes no messages.

    ``disabled`` when it said itself that it is gone: none is sent to it any more.
    """

    user: str
    channel: str
    sha256: str
    reason: str
    disabled: bool = False


class ChannelRecovered(Event, frozen=True, kw_only=True, tag="settings.channel_recovered"):
    """A channel that had failed took a message."""

    user: str
    sha256: str


class ReadAll(Event, frozen=True, kw_only=True, tag="settings.read_all"):
    """A user has read all that happened to their notifications up to a position (``None``: now)."""

    user: str
    up_to: int | None = None


SettingsEvent = SettingsChanged | ChannelFailed | ChannelRecovered | ReadAll
