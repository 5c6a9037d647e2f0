"""Families of streams: how each is named, folded and decided on, and which commands are its.

A family is one line of a table. A new kind of thing in the log needs its events, a decider, and a
line here; `commands` knows nothing of any of them but tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

from msgspec import Struct

from events import commands as do
from events import notifying
from events.grant import CreateGrant
from events.secret import SECRET_ACTIONS
from events.task import Event
from pandar_daemon.domain import grants, notification_state, notify_settings, project_secrets
from pandar_daemon.domain import notification as notification_rules
from pandar_daemon.domain import project as project_rules
from pandar_daemon.domain import task as task_rules
from pandar_daemon.domain.task_rules import Ask
from pandar_daemon.services.streams import PROJECT, TASK, Kind

Decide = Callable[[Any, Any, Ask], Sequence[Event]]
"""A decider: state, command, and who asks when. A family's own are of its own types."""


class Family(Struct, frozen=True):
    """A kind of stream, and its rules."""

    kind: Kind[Any]
    decide: Decide


def _by_user(decide: Callable[[Any, Any, str], Sequence[Event]]) -> Decide:
    return lambda state, command, ask: decide(state, command, ask.user)


TASKS: Final = Family(TASK, task_rules.decide)
PROJECTS: Final = Family(PROJECT, _by_user(project_rules.decide))
NOTIFICATIONS: Final = Family(
    Kind("notification", notification_state.initial, notification_state.evolve),
    _by_user(notification_rules.decide),
)
USER_SETTINGS: Final = Family(
    Kind("user_settings", notify_settings.initial, notify_settings.evolve),
    _by_user(notify_settings.decide),
)
PROJECT_SETTINGS: Final = Family(
    Kind("project_settings", notify_settings.initial, notify_settings.evolve),
    _by_user(notify_settings.decide),
)

SECRETS: Final = Family(
    Kind("project_secrets", project_secrets.initial, project_secrets.evolve),
    _by_user(project_secrets.decide),
)
GRANTS: Final = Family(Kind("grant", grants.initial, grants.evolve), grants.decide)

_BY_CATEGORY: Final = {
    "grant": GRANTS,
    "task": TASKS,
    "run": TASKS,
    "project": PROJECTS,
    "notification": NOTIFICATIONS,
}
_BY_ACTION: Final = {
    "notification.settings": USER_SETTINGS,
    "notification.read_all": USER_SETTINGS,
    "notification.channel": USER_SETTINGS,
    "notification.project_settings": PROJECT_SETTINGS,
    **dict.fromkeys(SECRET_ACTIONS, SECRETS),
}
_NUMBERED: Final = frozenset({"task", "project", "project_settings", "project_secrets", "run"})


def family_of(action: str) -> Family:
    """Return the family a command is about."""
    return _BY_ACTION.get(action) or _BY_CATEGORY[action.partition(".")[0]]


def is_numbered(action: str) -> bool:
    """Return whether a command's target is a number; else it is a UUID."""
    return family_of(action).kind.category in _NUMBERED


def named_in(command: do.Command) -> UUID | None:
    """Return the id that a command brings along for what it makes, ``None`` for a number to be."""
    if isinstance(command, notifying.CreateNotification):
        return command.notification_id
    if isinstance(command, CreateGrant):
        return command.grant_id
    return None
