"""What there is to know of a task for telling people about it, folded from its events."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct

from events import task as did
from events.envelope import Recorded
from events.notification import Resolution
from events.task import Event, Json
from pandar_daemon.domain.project import Project

WATCHERS_MAX: Final = 20
CHANNELS_MAX: Final = 20
MANAGER: Final = "manager"


class Telling(Struct, frozen=True):
    """An event people were told of, and who watched the task then."""

    event_id: UUID
    position: int
    watchers: tuple[str, ...]


class Open(Struct, frozen=True):
    """A confirmation that waits: what asked for it, and all that people were told of it."""

    request: did.ConfirmationRequested
    told: tuple[Telling, ...]


class Subject(Struct, frozen=True):
    """A task; ``created_by`` is empty before it was filed."""

    task_id: int
    project_id: int = 0
    name: str = ""
    created_by: str = ""
    metadata: Json = {}
    open: tuple[Open, ...] = ()
    is_prompted: bool = False

    @property
    def watchers(self) -> tuple[str, ...]:
        """Return the users its metadata names as watchers, nothing else that may stand there."""
        return _texts(self.metadata.get("watchers"))[:WATCHERS_MAX]

    @property
    def channels(self) -> tuple[str, ...]:
        """Return the channels its metadata names."""
        return _texts(self.metadata.get("notify"))[:CHANNELS_MAX]


def _texts(value: object) -> tuple[str, ...]:
    """Return each text of a list once; metadata is the user's own and may hold anything."""
    texts = value if isinstance(value, list) else []
    return tuple(dict.fromkeys(text for text in texts if isinstance(text, str) and text))


def evolve(subject: Subject, recorded: Recorded, event: Event) -> Subject:
    """Return the subject after an event; one of no concern leaves it as it is."""
    match event:
        case did.TaskCreated():
            return _with(
                subject,
                project_id=event.project_id,
                name=event.name,
                created_by=event.created_by,
                metadata=event.metadata,
                is_prompted=bool(event.prompt),
            )
        case did.TaskUpdated():
            return _after_updated(subject, event)
        case did.ConfirmationRequested():
            opened = Open(event, (_telling(subject, recorded),))
            return _with(subject, open=(*subject.open, opened))
        case did.ConfirmationEscalated():
            return _after_escalated(subject, recorded, event)
        case _:
            over = {one.request.confirmation_id for one, *_ in closed(subject, event)}
            left = tuple(one for one in subject.open if one.request.confirmation_id not in over)
            return _with(subject, open=left) if over else subject


def _with(subject: Subject, **changes: object) -> Subject:
    return msgspec.structs.replace(subject, **changes)


def _telling(subject: Subject, recorded: Recorded) -> Telling:
    return Telling(recorded.event_id, recorded.position, subject.watchers)


def _after_updated(subject: Subject, event: did.TaskUpdated) -> Subject:
    if event.name is not UNSET:
        subject = _with(subject, name=event.name)
    return subject if event.metadata is UNSET else _with(subject, metadata=event.metadata)


def _after_escalated(
    subject: Subject, recorded: Recorded, event: did.ConfirmationEscalated
) -> Subject:
    return _with(
        subject,
        open=tuple(
            msgspec.structs.replace(one, told=(*one.told, _telling(subject, recorded)))
            if one.request.confirmation_id == event.confirmation_id
            else one
            for one in subject.open
        ),
    )


_OUTCOMES: Final[dict[type[Event], Resolution]] = {
    did.TaskConfirmed: Resolution.APPROVED,
    did.TaskDenied: Resolution.DENIED,
    did.ChangesRequested: Resolution.CHANGES,
    did.ConfirmationExpired: Resolution.EXPIRED,
    did.ConfirmationWithdrawn: Resolution.WITHDRAWN,
}
_ENDS: Final = (did.CancelRequested, did.TaskCancelled, did.TaskCompleted, did.TaskFailed)


def closed(subject: Subject, event: Event) -> list[tuple[Open, Resolution, str, str]]:
    """Return the confirmations an event puts an end to: how, by whom, and for which reason."""
    if isinstance(event, _ENDS):
        return [(one, Resolution.OVER, "", "") for one in subject.open]
    outcome = _OUTCOMES.get(type(event))
    if outcome is None:
        return []
    by, reason = str(getattr(event, "by", "")), str(getattr(event, "reason", ""))
    named = getattr(event, "confirmation_id", None)
    return [
        (one, outcome, by, reason) for one in subject.open if one.request.confirmation_id == named
    ]


def audience(created_by: str, watchers: tuple[str, ...], project: Project) -> tuple[str, ...]:
    """Return who is told how a task ended: who filed it, and watchers who belong to its project."""
    belong = (user for user in watchers if project.role_of(user) is not None)
    return tuple(dict.fromkeys((created_by, *belong)))


def approvers(created_by: str, watchers: tuple[str, ...], project: Project) -> tuple[str, ...]:
    """Return who is told that a task waits: its audience, and who owns or manages the project."""
    managers = sorted(user for user, role in project.members.items() if role == MANAGER)
    owner = (project.owner,) if project.owner else ()
    return tuple(dict.fromkeys((*audience(created_by, watchers, project), *owner, *managers)))
