"""How people hear of things: channels, links, and where it is kept how far they were told."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from events.notification import NotificationType
from events.task import Json
from pandar_daemon.ports.reads import Page


class Item(Struct, frozen=True, kw_only=True):
    """One notification within a message; ``url`` is where its reader can do something about it."""

    notification_id: UUID
    kind: NotificationType
    title: str
    content: str
    at: datetime
    url: str = ""
    task_id: int | None = None
    project_id: int | None = None
    confirmation_id: UUID | None = None
    expires_at: datetime | None = None


class Notice(Struct, frozen=True, kw_only=True):
    """One message to one channel; the same ``message_id`` again is the same message again.

    ``title`` is one line. The most urgent item comes first; there is at least one.
    """

    message_id: UUID
    user: str
    title: str
    items: tuple[Item, ...]
    digest: bool = False


class Fate(StrEnum):
    """What became of a message."""

    SENT = "sent"
    LATER = "later"  # it failed, and may succeed later
    REFUSED = "refused"  # it will fail as long as nobody mends the channel
    GONE = "gone"  # the channel says that it is there no more


class Delivered(Struct, frozen=True, kw_only=True):
    """What a channel said; ``detail``, which may be empty, holds no secret."""

    fate: Fate
    detail: str = ""
    retry_after_sec: float | None = None


class Channels(Protocol):
    """Every channel there is."""

    async def send(self, channel: str, notice: Notice) -> Delivered:
        """Carry a message to a channel such as ``slack://ops``, and return what came of it.

        Takes at most 30 s. Raises nothing, whatever the other side does.
        """
        ...


class Links(Protocol):
    """Addresses that messages lead to."""

    async def issue(self, task_id: int, confirmation_id: UUID, approver: str) -> str:
        """Return an address where whoever has it can decide a confirmation as ``approver``.

        Raises the `Refusal` when that one may not decide it, `Unavailable` when asking again may
        help.
        """
        ...

    def page(self, task_id: int) -> str:
        """Return an address where somebody who logs in sees a task; there is no secret in it."""
        ...


class Sealer(Protocol):
    """Makes a secret unreadable for all but this installation."""

    def seal(self, text: str, owner: str) -> str:
        """Return a text only `unseal` with the same owner can read; always the same one."""
        ...

    def unseal(self, sealed: str, owner: str) -> str:
        """Return what was sealed; raises ``ValueError`` for anything else."""
        ...


class Checkpoints(Protocol):
    """How far followers of the log are."""

    async def position(self, follower: str) -> int:
        """Return the position up to which a follower has done its work."""
        ...

    async def move(self, follower: str, position: int) -> None:
        """Keep that it is at a position; never moves back."""
        ...


class NotificationReads(Protocol):
    """Notifications as their users see them."""

    async def page(
        self, user: str, *, unread: bool, kinds: frozenset[str], cursor: str | None, limit: int
    ) -> Page:
        """Return a user's notifications, newest first; raises `Invalid` for a cursor of others."""
        ...

    async def get(self, notification_id: UUID) -> Json | None:
        """Return one notification."""
        ...

    async def unread(self, user: str) -> int:
        """Return how many a user has not read, counted up to 1,000."""
        ...

    async def told_of(self, confirmation_id: UUID, user: str) -> list[UUID]:
        """Return the notifications by which a user was told of a confirmation."""
        ...

    async def open(self, *, limit: int) -> list[UUID]:
        """Return notifications with something still to be sent, those due first."""
        ...
