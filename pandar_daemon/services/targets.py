"""Where a message is to go, whole and not masked, and whether it still is to.

A delivery names its channel by hash. The channel itself stands where somebody named it: in the
task's metadata, or sealed in settings. Who takes it out there ends all messages to it.
"""

from __future__ import annotations

from events import ids
from events.notification import Origin
from pandar_daemon.domain.channel import fingerprint
from pandar_daemon.domain.notify_settings import Settings
from pandar_daemon.domain.notify_subject import Subject
from pandar_daemon.domain.outbox import Line
from pandar_daemon.ports import EventStore, Sealer
from pandar_daemon.services.facts import PROJECT_SETTINGS, SUBJECT, USER_SETTINGS, read


class Targets:
    """Finds channels."""

    def __init__(self, store: EventStore, sealer: Sealer) -> None:
        """Look in the streams of ``store``."""
        self._store = store
        self._sealer = sealer

    async def waits(self, line: Line) -> bool:
        """Return whether the confirmation a line asks to decide is open, by the log."""
        wanted, subject = line.notification.confirmation_id, await self._subject(line)
        return any(one.request.confirmation_id == wanted for one in subject.open)

    async def settings(self, user: str) -> Settings:
        """Return the settings of a user as they are now."""
        return await read(self._store, USER_SETTINGS, ids.user_settings_stream(user))

    async def channel(self, line: Line) -> str | None:
        """Return the channel a line is for, ``None`` when nobody names it any more."""
        told, sha256 = line.notification, line.delivery.channel_sha256
        match line.delivery.origin:
            case Origin.TASK:
                named = (await self._subject(line)).channels
                return next((one for one in named if fingerprint(one) == sha256), None)
            case Origin.PROJECT:
                number = told.of_project or 0
                stream = ids.project_settings_stream(number)
                settings = await read(self._store, PROJECT_SETTINGS, stream)
                return self._unsealed(settings, f"project:{number}", sha256)
            case Origin.USER:
                return self._unsealed(await self.settings(told.user), f"user:{told.user}", sha256)

    async def _subject(self, line: Line) -> Subject:
        number = line.notification.task_id or 0
        return await read(self._store, SUBJECT, ids.task_stream(number))

    def _unsealed(self, settings: Settings, owner: str, sha256: str) -> str | None:
        for one in settings.channels:
            if one.sha256 == sha256:
                try:
                    channel = self._sealer.unseal(one.sealed, owner)
                except ValueError:
                    return None
                return channel if fingerprint(channel) == sha256 else None
        return None
