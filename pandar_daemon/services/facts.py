"""What the notifier knows of tasks, projects and settings, as of the event it is at.

Whoever reads the log in order need not read its streams: an event changes what is known by the
same rules. A stream is read once, when it is asked for and unknown, up to that event.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar, cast
from uuid import UUID

from msgspec import Struct

from events import codec, ids
from events.envelope import Recorded
from events.task import Event
from pandar_daemon.domain import notify_settings, notify_subject, project
from pandar_daemon.domain.notify_settings import Settings
from pandar_daemon.domain.notify_subject import Subject
from pandar_daemon.domain.project import Project
from pandar_daemon.ports import EventStore

KNOWN_MAX: Final = 10_000
"""Streams kept in memory; the one used longest ago goes first."""

S = TypeVar("S")


class Fold(Struct, Generic[S], frozen=True):
    """How streams of one category are folded, from the part of their name after the category."""

    initial: Callable[[str], S]
    evolve: Callable[[S, Recorded, Event], S]


SUBJECT: Final[Fold[Subject]] = Fold(lambda id_: Subject(int(id_)), notify_subject.evolve)
PROJECT: Final[Fold[Project]] = Fold(
    lambda id_: project.initial(int(id_)), lambda state, _, event: project.evolve(state, event)
)
USER_SETTINGS: Final[Fold[Settings]] = Fold(
    lambda id_: notify_settings.initial(UUID(id_)),
    lambda state, _, event: notify_settings.evolve(state, event),
)
PROJECT_SETTINGS: Final[Fold[Settings]] = Fold(
    lambda id_: notify_settings.initial(int(id_)),
    lambda state, _, event: notify_settings.evolve(state, event),
)
_FOLDS: Final[dict[str, Fold[object]]] = {
    "task": cast("Fold[object]", SUBJECT),
    "project": cast("Fold[object]", PROJECT),
    "user_settings": cast("Fold[object]", USER_SETTINGS),
    "project_settings": cast("Fold[object]", PROJECT_SETTINGS),
}


async def read(store: EventStore, fold: Fold[S], stream: str, *, up_to: int | None = None) -> S:
    """Return a stream's state, as of a position if one is given."""
    state = fold.initial(ids.id_of(stream))
    for recorded in await store.read_stream(stream, up_to=up_to):
        event = codec.decode(recorded)
        state = state if event is None else fold.evolve(state, recorded, event)
    return state


class Facts:
    """What is known as of the event heard last."""

    def __init__(self, store: EventStore, position: int) -> None:
        """Begin after an event; read streams that are unknown from ``store``."""
        self._store = store
        self._known: OrderedDict[str, object] = OrderedDict()
        self._position = position

    def hear(self, recorded: Recorded, event: Event) -> None:
        """Take the next event of the log; those in between must be of no concern."""
        self._position = recorded.position
        fold = _FOLDS.get(ids.category_of(recorded.stream))
        if fold is None:
            return
        known = self._known.get(recorded.stream)
        if known is None and recorded.version == 1:
            known = fold.initial(ids.id_of(recorded.stream))
        if known is not None:
            self._remember(recorded.stream, fold.evolve(known, recorded, event))

    async def subject(self, task_id: int) -> Subject:
        """Return a task as of now."""
        return await self._state(SUBJECT, ids.task_stream(task_id))

    async def project(self, project_id: int) -> Project:
        """Return a project as of now."""
        return await self._state(PROJECT, ids.project_stream(project_id))

    async def project_at(self, project_id: int, position: int) -> Project:
        """Return a project as it was at an earlier position."""
        stream = ids.project_stream(project_id)
        return await read(self._store, PROJECT, stream, up_to=position)

    async def of_user(self, user: str) -> Settings:
        """Return a user's settings as of now."""
        return await self._state(USER_SETTINGS, ids.user_settings_stream(user))

    async def of_project(self, project_id: int) -> Settings:
        """Return a project's settings as of now."""
        return await self._state(PROJECT_SETTINGS, ids.project_settings_stream(project_id))

    async def _state(self, fold: Fold[S], stream: str) -> S:
        if stream not in self._known:
            state = await read(self._store, fold, stream, up_to=self._position)
            self._remember(stream, state)
        return cast("S", self._known[stream])

    def _remember(self, stream: str, state: object) -> None:
        self._known[stream] = state
        self._known.move_to_end(stream)
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
