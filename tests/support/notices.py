"""Notifications for tests: rules as sentences, and messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID

from msgspec import Struct

from events import notification as did
from events import notifying as do
from events.ids import settings_id
from events.notification import NotificationType, Origin
from events.task import Event
from pandar_daemon.domain import notification, notification_state, notify_settings
from pandar_daemon.domain.channel import fingerprint, mask
from pandar_daemon.domain.notification import NotificationCommand
from pandar_daemon.domain.notification_state import Notification
from pandar_daemon.domain.notify_settings import Settings, SettingsCommand
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.ports import Item, Notice
from tests.support.given import NOW, PROJECT_ID, TASK_ID, USER, When, prove_told_truly

NOTIFICATION = UUID("0195512a-7c00-7000-8000-00000000aaaa")
EVENT = UUID("0195512a-7c00-7000-8000-00000000bbbb")
CONFIRMATION = UUID("0195512a-7c00-7000-8000-00000000cccc")
HOOK = "webhook:https://hooks.example.org/pandar/0123456789"
SLACK = "slack://ops"


def number(n: int) -> UUID:
    """Return the n-th of some ids."""
    return UUID(int=0x0195512A7C0070008000000000000000 + n)


def delivery(n: int = 1, *, channel: str = HOOK, after_sec: float = 5.0) -> do.Delivery:
    """Return the n-th delivery, as it is asked for."""
    return do.Delivery(
        delivery_id=number(n),
        channel=mask(channel),
        channel_sha256=fingerprint(channel),
        origin=Origin.USER,
        due_at=NOW + timedelta(seconds=after_sec),
    )


def creation(*deliveries: do.Delivery, **fields: object) -> do.CreateNotification:
    """Return what asks for a notification, of a task that failed unless the fields say else."""
    whole = {
        "notification_id": NOTIFICATION,
        "user": USER,
        "kind": NotificationType.TASK_FAILED,
        "title": "Failed: tidy up",
        "event_id": EVENT,
        "at": NOW,
        "task_id": TASK_ID,
        "project_id": PROJECT_ID,
        "deliveries": list(deliveries),
        **fields,
    }
    return do.CreateNotification(**whole)  # type: ignore[arg-type]


def asking(*deliveries: do.Delivery, hours: int = 10) -> do.CreateNotification:
    """Return what asks for a notification of a confirmation, with reminders."""
    return creation(
        *deliveries,
        kind=NotificationType.CONFIRMATION_REQUIRED,
        title="Approval needed: tidy up",
        confirmation_id=CONFIRMATION,
        expires_at=NOW + timedelta(hours=hours),
        remind_at=[NOW + timedelta(hours=hours * part) for part in (0.5, 0.9)],
    )


def report(n: int = 1, attempt: int = 1, **fields: object) -> do.ReportDelivery:
    """Return the report that a delivery was sent, or failed if the fields say so."""
    whole = {"delivery_id": number(n), "attempt": attempt, "message_id": number(99), **fields}
    return do.ReportDelivery(**whole)  # type: ignore[arg-type]


class GivenNotification(Struct, frozen=True):
    """A notification to which some things happened."""

    state: Notification

    def when(self, command: NotificationCommand, *, user: str = USER) -> When:
        """Return what the rules say to a command."""
        decide = notification.decide
        return _when(
            self.state, lambda: decide(self.state, command, user), notification_state.evolve
        )

    def after(self, *commands: NotificationCommand, user: str = USER) -> GivenNotification:
        """Return the notification after accepted commands."""
        state = self.state
        for command in commands:
            for event in notification.decide(state, command, user):
                state = notification_state.evolve(state, event)
        return GivenNotification(state)


class GivenSettings(Struct, frozen=True):
    """Settings to which some things happened."""

    state: Settings

    def when(self, command: SettingsCommand, *, user: str = USER) -> When:
        """Return what the rules say to a command."""
        decide = notify_settings.decide
        return _when(self.state, lambda: decide(self.state, command, user), notify_settings.evolve)

    def after(self, *commands: SettingsCommand, user: str = USER) -> GivenSettings:
        """Return the settings after accepted commands."""
        state = self.state
        for command in commands:
            for event in notify_settings.decide(state, command, user):
                state = notify_settings.evolve(state, event)
        return GivenSettings(state)


def _when(
    state: object,
    decide: Callable[[], Sequence[Event]],
    evolve: Callable[..., object],
) -> When:
    try:
        happened = tuple(decide())
    except Refusal as refusal:
        return When(state, refusal=refusal)
    prove_told_truly(state, happened, evolve)
    return When(state, happened)


def told(*commands: NotificationCommand) -> GivenNotification:
    """Return the notification these commands make."""
    return GivenNotification(notification_state.initial(NOTIFICATION)).after(*commands)


def settings(*commands: SettingsCommand, user: str = USER) -> GivenSettings:
    """Return the settings of a user these commands make."""
    return GivenSettings(notify_settings.initial(settings_id(user))).after(*commands, user=user)


def stored(channel: str) -> did.StoredChannel:
    """Return a channel as settings have it; what is sealed is made up."""
    return did.StoredChannel(
        channel=mask(channel), sha256=fingerprint(channel), sealed=f"sealed {channel}"
    )


def to_set(channel: str) -> do.SetChannel:
    """Return a channel as a command sets it."""
    one = stored(channel)
    return do.SetChannel(sha256=one.sha256, channel=one.channel, sealed=one.sealed)


def item(n: int = 1, **fields: object) -> Item:
    """Return the n-th notification within a message: a confirmation, unless the fields say else."""
    whole = {
        "notification_id": number(n),
        "kind": NotificationType.CONFIRMATION_REQUIRED,
        "title": "Approval needed: tidy up",
        "content": "Gate: git_push_protected\ngit push origin main",
        "at": NOW,
        "url": "https://pandar.example.org/a/secret",
        "task_id": TASK_ID,
        "project_id": PROJECT_ID,
        "confirmation_id": CONFIRMATION,
        "expires_at": NOW + timedelta(hours=1),
        **fields,
    }
    return Item(**whole)  # type: ignore[arg-type]


def notice(*items: Item, message: int = 50, **fields: object) -> Notice:
    """Return a message."""
    whole = items or (item(),)
    return Notice(
        message_id=number(message),
        user=USER,
        title=str(fields.get("title", whole[0].title)),
        items=whole,
        digest=bool(fields.get("digest", False)),
    )
