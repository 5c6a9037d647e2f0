"""Which event tells whom, through which channels: from what is in the log to commands.

A command is made of nothing but the log up to its event. So whoever reads the log again, after a
crash, makes the same ones, under the same ids, and nothing is told twice::

    task.confirmation_requested   who filed the task, watchers, the project's owner and managers
    task.confirmation_escalated   the same, once more
    task.completed, task.failed   who filed the task, and watchers; not while it is tried again
    settings.channel_failed       whose channel it is

Watchers count only if they belong to the project. Everybody gets the notification itself; messages
go to the channels of the task (as from who filed it), of the project (confirmations as from its
owner, the rest as from who filed the task) and of each user, to each channel once per event.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid5

from msgspec import Struct

from events import notification, notifying
from events import task as did
from events.envelope import Recorded
from events.ids import notification_id
from events.notification import NotificationType, Origin
from events.notifying import CreateNotification, RemindUser
from events.task import Event
from pandar_daemon.domain import notify_texts
from pandar_daemon.domain.channel import fingerprint, is_channel, mask
from pandar_daemon.domain.notification_state import Notification
from pandar_daemon.domain.notify_settings import DEBOUNCE_SEC, Settings
from pandar_daemon.domain.notify_subject import Subject, approvers, audience
from pandar_daemon.domain.notify_texts import Text
from pandar_daemon.domain.project import Project

CONFIRMATION_WAITS_SEC: Final = 1.0
"""The longest a message that asks for a decision is held back; the promise is 2 s."""
REMIND_AT: Final = (0.5, 0.9)
"""When to remind, as parts of the time there is to decide."""

_KINDS: Final[dict[type[Event], NotificationType]] = {
    did.ConfirmationRequested: NotificationType.CONFIRMATION_REQUIRED,
    did.ConfirmationEscalated: NotificationType.CONFIRMATION_REQUIRED,
    did.TaskCompleted: NotificationType.TASK_COMPLETED,
    did.TaskFailed: NotificationType.TASK_FAILED,
    notification.ChannelFailed: NotificationType.SYSTEM_ALERT,
}


class Scene(Struct, frozen=True, kw_only=True):
    """All there is to know of an event; without a task, ``subject`` and ``project`` are empty.

    ``subject`` is the task after the event. ``settings`` are those of all who are told.
    """

    recorded: Recorded
    event: Event
    subject: Subject = Subject(0)
    project: Project = Project(0)
    of_project: Settings = Settings(0)
    settings: Mapping[str, Settings] = {}


def kind_of(event: Event) -> NotificationType | None:
    """Return what a notification of an event would be, ``None`` when nobody is told of it."""
    if isinstance(event, did.TaskFailed) and event.will_retry:
        return None
    return _KINDS.get(type(event))


def recipients(event: Event, subject: Subject, project: Project) -> tuple[str, ...]:
    """Return who is told of an event, each once; whoever filed the task comes first."""
    if isinstance(event, notification.ChannelFailed):
        return (event.user,)
    if kind_of(event) is None or not subject.created_by:
        return ()
    who = approvers if kind_of(event) is NotificationType.CONFIRMATION_REQUIRED else audience
    return who(subject.created_by, subject.watchers, project)


def announcements(scene: Scene) -> list[CreateNotification]:
    """Return what is to be asked for, a notification for each who is told."""
    kind, text = kind_of(scene.event), _text(scene)
    if kind is None or text is None:
        return []
    told = recipients(scene.event, scene.subject, scene.project)
    taken: set[str] = set()
    return [_announcement(scene, kind, text, user, taken) for user in told]


def _announcement(
    scene: Scene, kind: NotificationType, text: Text, user: str, taken: set[str]
) -> CreateNotification:
    event_id, asks = scene.recorded.event_id, kind is NotificationType.CONFIRMATION_REQUIRED
    return CreateNotification(
        notification_id=notification_id(event_id, user),
        user=user,
        kind=kind,
        title=text.title,
        content=text.content,
        event_id=event_id,
        at=scene.recorded.recorded_at,
        task_id=scene.subject.task_id or None,
        project_id=scene.subject.project_id or None,
        confirmation_id=getattr(scene.event, "confirmation_id", None) if asks else None,
        expires_at=getattr(scene.event, "expires_at", None) if asks else None,
        remind_at=list(_reminders(scene)) if asks else [],
        deliveries=list(_deliveries(scene, kind, user, taken)),
    )


def _text(scene: Scene) -> Text | None:
    name = scene.subject.name
    match scene.event:
        case did.TaskCompleted() as event:
            return notify_texts.completed(name, event) if _is_awaited(scene) else None
        case did.TaskFailed() as event:
            return notify_texts.failed(name, event)
        case did.ConfirmationRequested() as event:
            return notify_texts.asked(name, event)
        case did.ConfirmationEscalated() as event:
            return _escalated(scene, event)
        case notification.ChannelFailed() as event:
            return notify_texts.broken(event)
        case _:
            return None


def _is_awaited(scene: Scene) -> bool:
    """Whether anybody wants to hear of a success: not of each command that did what it should."""
    subject, settings = scene.subject, (scene.of_project, *scene.settings.values())
    asked = subject.is_prompted or subject.channels or subject.watchers
    return bool(asked or any(one.channels for one in settings))


def _escalated(scene: Scene, event: did.ConfirmationEscalated) -> Text | None:
    for one in scene.subject.open:
        if one.request.confirmation_id == event.confirmation_id:
            return notify_texts.escalated(scene.subject.name, one.request, event.expires_at)
    return None


def _reminders(scene: Scene) -> Iterator[datetime]:
    expires_at = getattr(scene.event, "expires_at", None)
    if isinstance(expires_at, datetime):
        asked_at = scene.recorded.recorded_at
        for part in REMIND_AT:
            yield asked_at + max(expires_at - asked_at, timedelta()) * part


class _Choice(Struct, frozen=True):
    """A channel somebody named, before it is asked whether it is to be used."""

    channel: str  # masked
    sha256: str
    origin: Origin
    debounce_sec: int = DEBOUNCE_SEC
    quiet: frozenset[NotificationType] = frozenset()


def _deliveries(
    scene: Scene, kind: NotificationType, user: str, taken: set[str]
) -> Iterator[notifying.Delivery]:
    broken = scene.settings[user].broken
    for choice in _choices(scene, kind, user):
        fault = broken.get(choice.sha256)
        useless = fault and (fault.disabled or kind is NotificationType.SYSTEM_ALERT)
        if useless or choice.sha256 in taken or kind in choice.quiet:
            continue
        taken.add(choice.sha256)
        yield notifying.Delivery(
            delivery_id=delivery_id(scene.recorded.event_id, choice.sha256),
            channel=choice.channel,
            channel_sha256=choice.sha256,
            origin=choice.origin,
            due_at=scene.recorded.recorded_at + _held_back(kind, choice.debounce_sec),
        )


def _choices(scene: Scene, kind: NotificationType, user: str) -> Iterator[_Choice]:
    subject, filed = scene.subject, user == scene.subject.created_by
    if filed:
        for channel in subject.channels:
            if is_channel(channel):
                yield _Choice(mask(channel), fingerprint(channel), Origin.TASK)
    asks = kind is NotificationType.CONFIRMATION_REQUIRED
    if subject.task_id and (user == scene.project.owner if asks else filed):
        yield from _stored(scene.of_project, Origin.PROJECT)
    yield from _stored(scene.settings[user], Origin.USER)


def _stored(settings: Settings, origin: Origin) -> Iterator[_Choice]:
    for one in settings.channels:
        yield _Choice(one.channel, one.sha256, origin, settings.debounce_sec, settings.quiet)


def _held_back(kind: NotificationType, debounce_sec: int) -> timedelta:
    match kind:
        case NotificationType.CONFIRMATION_REQUIRED:
            return timedelta(seconds=min(debounce_sec, CONFIRMATION_WAITS_SEC))
        case NotificationType.SYSTEM_ALERT:
            return timedelta()
        case _:
            return timedelta(seconds=debounce_sec)


def delivery_id(event_id: UUID, channel_sha256: str, reminder: int = 0) -> UUID:
    """Return the id of the message that carries an event to a channel: always the same one."""
    return uuid5(event_id, f"delivery {reminder} {channel_sha256}")


def reminder(told: Notification) -> RemindUser:
    """Return what reminds of a confirmation for the next time, through the channels it went to."""
    number = told.reminded + 1
    event_id = told.event_id or told.notification_id
    return RemindUser(
        number=number,
        deliveries=[
            notifying.Delivery(
                delivery_id=delivery_id(event_id, one.channel_sha256, number),
                channel=one.channel,
                channel_sha256=one.channel_sha256,
                origin=one.origin,
                due_at=told.remind_at[0],
            )
            for one in told.deliveries.values()
            if not one.reminder
        ],
    )
