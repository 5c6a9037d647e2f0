"""A user's notifications. Everybody sees their own alone."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from aiohttp import web
from msgspec import Meta, Struct

from events import ids
from events.instant import Instant
from events.notification import NotificationType, Origin, Resolution
from events.notifying import (
    MarkAllRead,
    MarkRead,
)
from pandar_daemon.adapters.http import notification_rows
from pandar_daemon.adapters.http.bodies import answer, command
from pandar_daemon.adapters.http.deps import PRINCIPAL, Deps, deps
from pandar_daemon.adapters.http.params import Query, query
from pandar_daemon.adapters.http.writing import send
from pandar_daemon.domain.access import Permission, within_ceiling
from pandar_daemon.domain.refusals import Forbidden, NotFound, Unavailable
from pandar_daemon.ports import NotificationReads, Sealer


class Listing(Query, frozen=True, kw_only=True):
    """The parameters of ``GET /notifications``."""

    unread: bool = False
    type: list[NotificationType] = []
    cursor: Annotated[str, Meta(max_length=500)] | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class Shown(Struct, frozen=True, kw_only=True):
    """Base of the answers; a later release may add fields."""


class Delivery(Shown, frozen=True, kw_only=True):
    """One message to one channel; ``reminder`` counts from 1, 0 is the first message.

    ``detail`` is what the channel said last.
    """

    id: UUID
    channel: str
    origin: Origin
    reminder: int
    requested_at: Instant
    due_at: Instant
    status: Literal["pending", "sent", "failed", "dropped"]
    attempts: int
    message_id: UUID | None
    detail: str | None


class Notification(Shown, frozen=True, kw_only=True):
    """What its user is told of an event; ``sent_at`` is when a message was last delivered."""

    id: UUID
    type: NotificationType
    title: str
    content: str
    is_read: bool
    user_id: str
    task_id: int | None
    project_id: int | None
    confirmation_id: UUID | None
    created_at: Instant
    sent_at: Instant | None
    clicked_at: Instant | None
    expires_at: Instant | None
    decided_at: Instant | None
    outcome: Resolution | None
    decided_by: str | None
    position: int
    deliveries: list[Delivery]


class NotificationPage(Shown, frozen=True, kw_only=True):
    """Some notifications, newest first; ``unread`` counts all there are, up to 1,000."""

    items: list[Notification]
    limit: int
    next_cursor: str | None
    unread: int


class AllRead(Shown, frozen=True, kw_only=True):
    """Up to which position everything counts as read."""

    read_up_to: int


async def page(request: web.Request) -> web.Response:
    """Answer the caller's notifications, newest first."""
    wanted = query(request, Listing)
    user = user_of(request, Permission.NOTIFICATION_READ)
    reads, _ = served(deps(request))
    found = await reads.page(
        user,
        unread=wanted.unread,
        kinds=frozenset(kind.value for kind in wanted.type),
        cursor=wanted.cursor,
        limit=wanted.limit,
    )
    return answer(
        {
            "items": found.items,
            "limit": wanted.limit,
            "next_cursor": found.next,
            "unread": await reads.unread(user),
        }
    )


async def mark_read(request: web.Request) -> web.Response:
    """Mark one notification as read."""
    return await _mark(request, read=True)


async def mark_unread(request: web.Request) -> web.Response:
    """Mark one notification as new again."""
    return await _mark(request, read=False)


async def _mark(request: web.Request, *, read: bool) -> web.Response:
    target = _id_in_path(request)
    sent = await send(request, "notification.mark", MarkRead(read=read), target=target)
    stream = ids.notification_stream(target)
    history = await deps(request).store.read_stream(stream, up_to=sent.accepted.position)
    row = notification_rows.as_of(history)
    if row is None:
        raise NotFound(f"notification {target}")
    return answer(row, headers=sent.headers)


async def read_all(request: web.Request) -> web.Response:
    """Mark all of the caller's notifications as read.

    With ``up_to``, a position, only what happened to them up to then: what came after the caller
    looked stays new.
    """
    wanted = await command(request, MarkAllRead)
    target = ids.settings_id(user_of(request, Permission.NOTIFICATION_READ))
    sent = await send(request, "notification.read_all", wanted, target=target)
    up_to = sent.accepted.position if wanted.up_to is None else wanted.up_to
    return answer({"read_up_to": up_to}, headers=sent.headers)


def user_of(request: web.Request, permission: Permission) -> str:
    """Return the caller; raises `Forbidden` when their token is not good for a permission."""
    principal = request[PRINCIPAL]
    if not within_ceiling(principal, permission):
        raise Forbidden(permission)
    return principal.user


def served(needs: Deps) -> tuple[NotificationReads, Sealer]:
    """Return what notifications need; raises `Unavailable` where they are not served."""
    if needs.notifications is None or needs.sealer is None:
        raise Unavailable("this process serves no notifications")
    return needs.notifications, needs.sealer


def _id_in_path(request: web.Request) -> UUID:
    text = request.match_info["notification"]
    try:
        return UUID(text)
    except ValueError:
        raise NotFound(f"notification {text[:40]}") from None
