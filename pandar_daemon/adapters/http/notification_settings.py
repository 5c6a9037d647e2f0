"""Where messages about notifications go: the settings of a user, and those of a project."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from events import ids
from events.notification import NotificationType
from events.notifying import (
    CHANNELS_MAX,
    DEBOUNCE_MAX_SEC,
    ChangeSettings,
    SetChannel,
)
from events.problem import FieldError
from events.task import Json
from pandar_daemon.adapters.http import notification_rows, visibility
from pandar_daemon.adapters.http.bodies import answer, read
from pandar_daemon.adapters.http.deps import Deps, deps
from pandar_daemon.adapters.http.notifications import Shown, served, user_of
from pandar_daemon.adapters.http.params import id_in_path
from pandar_daemon.adapters.http.writing import Sent, send
from pandar_daemon.domain.access import Permission
from pandar_daemon.domain.channel import LENGTH_MAX, check, fingerprint, mask
from pandar_daemon.domain.notify_settings import Settings
from pandar_daemon.domain.reading import invalid
from pandar_daemon.domain.refusals import NotFound
from pandar_daemon.ports import Sealer

KEPT: Final = "kept:"
"""Begins a channel that is there already: its hash follows."""


class NewSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings to be changed; those left out stay.

    ``channels`` are all there are to be, each a text such as ``webhook:https://…``, or
    ``kept:<sha256>`` for one that is there already.
    """

    channels: (
        Annotated[list[Annotated[str, Meta(max_length=LENGTH_MAX)]], Meta(max_length=CHANNELS_MAX)]
        | UnsetType
    ) = UNSET
    quiet: Annotated[list[NotificationType], Meta(max_length=10)] | UnsetType = UNSET
    debounce_sec: Annotated[int, Meta(ge=0, le=DEBOUNCE_MAX_SEC)] | UnsetType = UNSET


class Channel(Shown, frozen=True, kw_only=True):
    """A channel of settings, masked; ``kept:<sha256>`` keeps it."""

    channel: str
    sha256: str


class BrokenChannel(Channel, frozen=True, kw_only=True):
    """A channel that takes no messages, perhaps of a task; to save settings is to try it again.

    ``disabled``: it said itself that it is gone, and is sent nothing any more.
    """

    reason: str
    disabled: bool


class NotificationSettings(Shown, frozen=True, kw_only=True):
    """Where messages go, about what not, and for how long those of one task are gathered."""

    channels: list[Channel]
    quiet: list[NotificationType]
    debounce_sec: int
    broken: list[BrokenChannel]


async def settings(request: web.Request) -> web.Response:
    """Answer the caller's settings."""
    user = user_of(request, Permission.NOTIFICATION_READ)
    return answer(await _of_user(deps(request), user))


async def change_settings(request: web.Request) -> web.Response:
    """Change the caller's settings."""
    user = user_of(request, Permission.NOTIFICATION_WRITE)
    wanted = _sealed(request, await read(request, NewSettings), f"user:{user}")
    target = ids.settings_id(user)
    sent = await send(request, "notification.settings", wanted, target=target)
    return answer(await _of_user(deps(request), user, sent), headers=sent.headers)


async def project_settings(request: web.Request) -> web.Response:
    """Answer where messages about a project's tasks go besides its people's own channels."""
    number = id_in_path(request, "project")
    what = f"project {number}"
    await visibility.check(request, Permission.NOTIFICATION_READ, number, what)
    if await deps(request).projects.get(number) is None:
        raise NotFound(what)
    return answer(await _of_project(deps(request), number))


async def change_project_settings(request: web.Request) -> web.Response:
    """Change where messages about a project's tasks go."""
    number = id_in_path(request, "project")
    wanted = _sealed(request, await read(request, NewSettings), f"project:{number}")
    sent = await send(request, "notification.project_settings", wanted, target=number)
    return answer(await _of_project(deps(request), number, sent), headers=sent.headers)


def _sealed(request: web.Request, wanted: NewSettings, owner: str) -> ChangeSettings:
    """Return the command that changes settings, in which no channel can be read any more."""
    channels: list[SetChannel] | UnsetType = UNSET
    if wanted.channels is not UNSET:
        needs = deps(request)
        faults = list(_faults(wanted.channels, needs.allowed_hosts))
        if faults:
            raise invalid(faults)
        _, sealer = served(needs)
        channels = [_set(channel, owner, sealer) for channel in wanted.channels]
    return ChangeSettings(channels=channels, quiet=wanted.quiet, debounce_sec=wanted.debounce_sec)


def _faults(channels: Iterable[str], allowed: frozenset[str]) -> Iterable[FieldError]:
    for n, channel in enumerate(channels):
        rule = None if channel.startswith(KEPT) else check(channel, allowed)
        if rule is not None:
            yield FieldError(field=f"channels[{n}]", rule=rule)


def _set(channel: str, owner: str, sealer: Sealer) -> SetChannel:
    if channel.startswith(KEPT):
        return SetChannel(sha256=channel.removeprefix(KEPT))
    return SetChannel(
        sha256=fingerprint(channel), channel=mask(channel), sealed=sealer.seal(channel, owner)
    )


async def _of_user(needs: Deps, user: str, sent: Sent | None = None) -> Json:
    up_to = None if sent is None else sent.accepted.position
    history = await needs.store.read_stream(ids.user_settings_stream(user), up_to=up_to)
    return _shown(notification_rows.settings(ids.settings_id(user), history))


async def _of_project(needs: Deps, number: int, sent: Sent | None = None) -> Json:
    up_to = None if sent is None else sent.accepted.position
    history = await needs.store.read_stream(ids.project_settings_stream(number), up_to=up_to)
    return _shown(notification_rows.settings(number, history))


def _shown(of: Settings) -> Json:
    return {
        "channels": [{"channel": one.channel, "sha256": one.sha256} for one in of.channels],
        "quiet": sorted(of.quiet),
        "debounce_sec": of.debounce_sec,
        "broken": [
            {
                "channel": one.channel,
                "sha256": sha256,
                "reason": one.reason,
                "disabled": one.disabled,
            }
            for sha256, one in of.broken.items()
        ],
    }
