"""The decider of settings for notifications: those of a user, and those of a project.

Both say which channels messages go to, about what, and how long messages of one task are gathered.
A user's also keep what Pandar found out about channels of theirs: which take no messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct

from events import notification as did
from events import notifying as do
from events.ids import settings_id
from events.notification import NotificationType, StoredChannel
from events.problem import FieldError
from events.task import Event
from pandar_daemon.domain.refusals import Invalid, NotFound, Rejected

SettingsCommand = do.ChangeSettings | do.MarkAllRead | do.ReportChannel

DEBOUNCE_SEC = 5


class Broken(Struct, frozen=True):
    """Why a channel takes no messages; ``disabled`` when none is to be sent to it any more."""

    channel: str
    reason: str
    disabled: bool


class Settings(Struct, frozen=True):
    """Settings of a user, whom ``of`` names by `settings_id`, or of the project ``of``."""

    of: UUID | int
    channels: tuple[StoredChannel, ...] = ()
    quiet: frozenset[NotificationType] = frozenset()
    debounce_sec: int = DEBOUNCE_SEC
    broken: dict[str, Broken] = {}  # by the channel's SHA-256
    read_up_to: int = 0

    @property
    def project_id(self) -> int:
        """Return the project whose settings they are, 0 for a user's, which are private."""
        return self.of if isinstance(self.of, int) else 0


def initial(of: UUID | int) -> Settings:
    """Return the settings of who never changed any."""
    return Settings(of)


def decide(settings: Settings, command: SettingsCommand, user: str) -> list[did.SettingsEvent]:
    """Return what the command makes happen, perhaps nothing.

    Raises `NotFound` for settings of another user than ``user``, `Invalid` for a channel that is to
    be kept and is not there, `Rejected` for what the rules forbid.
    """
    if isinstance(command, do.ReportChannel):
        return _report(settings, command)
    if isinstance(settings.of, UUID) and settings.of != settings_id(user):
        raise NotFound(f"settings {settings.of}")
    whose = user if isinstance(settings.of, UUID) else ""
    match command:
        case do.ChangeSettings():
            return _change(settings, command, whose)
        case do.MarkAllRead():
            return _read_all(settings, command, whose)
        case _:
            assert_never(command)


def _change(settings: Settings, command: do.ChangeSettings, user: str) -> list[did.SettingsEvent]:
    channels = UNSET if command.channels is UNSET else list(_stored(settings, command.channels))
    changed = did.SettingsChanged(
        user=user, channels=channels, quiet=command.quiet, debounce_sec=command.debounce_sec
    )
    return [] if evolve(settings, changed) == settings else [changed]


def _stored(settings: Settings, wanted: list[do.SetChannel]) -> Iterator[StoredChannel]:
    known = {channel.sha256: channel for channel in settings.channels}
    for n, channel in enumerate({one.sha256: one for one in wanted}.values()):
        if channel.sealed:
            yield StoredChannel(
                channel=channel.channel, sha256=channel.sha256, sealed=channel.sealed
            )
        elif channel.sha256 in known:
            yield known[channel.sha256]
        else:
            raise Invalid(
                FieldError(field=f"channels[{n}]", rule="is to be kept, but there is no such one")
            )


def _read_all(settings: Settings, command: do.MarkAllRead, user: str) -> list[did.SettingsEvent]:
    if not user:
        raise Rejected("a project reads nothing")
    if command.up_to is not None and command.up_to <= settings.read_up_to:
        return []
    return [did.ReadAll(user=user, up_to=command.up_to)]


def _report(settings: Settings, command: do.ReportChannel) -> list[did.SettingsEvent]:
    if settings.of != settings_id(command.user):
        raise Rejected(f"these are not the settings of {command.user}")
    known = settings.broken.get(command.sha256)
    if not command.reason:
        recovered = did.ChannelRecovered(user=command.user, sha256=command.sha256)
        return [] if known is None or known.disabled else [recovered]
    if known is not None and (known.disabled or not command.disabled):
        return []  # it was told of already
    return [
        did.ChannelFailed(
            user=command.user,
            channel=command.channel,
            sha256=command.sha256,
            reason=command.reason,
            disabled=command.disabled,
        )
    ]


def evolve(settings: Settings, event: Event) -> Settings:
    """Return the settings after an event; one they do not know leaves them as they are."""
    match event:
        case did.SettingsChanged():
            return _after_changed(settings, event)
        case did.ChannelFailed():
            broken = Broken(event.channel, event.reason, event.disabled)
            return _with(settings, broken={**settings.broken, event.sha256: broken})
        case did.ChannelRecovered():
            left = {sha: one for sha, one in settings.broken.items() if sha != event.sha256}
            return _with(settings, broken=left)
        case did.ReadAll(up_to=int(position)):
            return _with(settings, read_up_to=max(settings.read_up_to, position))
        case _:
            return settings


def _after_changed(settings: Settings, event: did.SettingsChanged) -> Settings:
    given: dict[str, object] = {"broken": {}}
    if event.channels is not UNSET:
        given["channels"] = tuple(event.channels)
    if event.quiet is not UNSET:
        given["quiet"] = frozenset(event.quiet)
    if event.debounce_sec is not UNSET:
        given["debounce_sec"] = event.debounce_sec
    return _with(settings, **given)


def _with(settings: Settings, **changes: object) -> Settings:
    return msgspec.structs.replace(settings, **changes)
