"""What is to be sent when: messages that belong together become one, and nobody is flooded.

A *batch* is one message to one channel. It carries one delivery or several:

* What is new for one channel from one task becomes one batch, as soon as any of it is due.
* Somebody gets at most `LIMIT` batches a `WINDOW_SEC` through one channel. The last of these is a
  digest of all that is left; what comes after it waits for the next window.
* A batch with a request for a decision is not bound by this limit, and counts.
* Somebody who got `HOURLY` messages in an hour, through all channels, gets what is more in one
  digest every `FLOODED_SEC` through each, requests for decisions too: what asks may never stop.
* What failed is tried again as the same batch, under the same message id.

The message id is made of the ids of what is in it: the same message always has the same one, and
another one another, so that who receives both can tell.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid5

from msgspec import Struct

from events.notification import NotificationType
from pandar_daemon.domain.notification_state import Delivery, Notification

LIMIT: Final = 10
WINDOW_SEC: Final = 60.0
HOURLY: Final = 100
HOUR_SEC: Final = 3_600.0
FLOODED_SEC: Final = 600.0
BATCH_MAX: Final = 100
"""Deliveries in one message."""
RETRY_SEC: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 86_400)
"""Seconds between attempts, as Standard Webhooks proposes; after the last one it has failed."""
JITTER: Final = 0.1
"""The most a pause is made longer, as part of it: not everybody is to try again at once."""
RETRY_AFTER_MAX_SEC: Final = 86_400.0

_MESSAGES: Final = UUID("c0a5c7b2-6a0f-5d59-8d0e-2c3f7a55b0de")

Route = tuple[str, str]
"""A user, and the SHA-256 of a channel messages reach them through."""


class Line(Struct, frozen=True):
    """A delivery that is to be sent, and what it carries."""

    notification: Notification
    delivery: Delivery

    @property
    def route(self) -> Route:
        """Return whom it reaches through which channel."""
        return self.notification.user, self.delivery.channel_sha256

    @property
    def asks(self) -> bool:
        """Return whether it asks for a decision."""
        return self.notification.kind is NotificationType.CONFIRMATION_REQUIRED


class Batch(Struct, frozen=True):
    """One message; its lines are in the order in which they were asked for."""

    lines: tuple[Line, ...]
    digest: bool = False

    @property
    def message_id(self) -> UUID:
        """Return the id of the message, made of what is in it."""
        ids = sorted(str(line.delivery.delivery_id) for line in self.lines)
        return uuid5(_MESSAGES, " ".join(ids)) if len(ids) > 1 else UUID(ids[0])

    @property
    def attempt(self) -> int:
        """Return which attempt this is, from 1."""
        return max(line.delivery.attempts for line in self.lines) + 1

    @property
    def route(self) -> Route:
        """Return whom it reaches through which channel."""
        return self.lines[0].route

    @property
    def due_at(self) -> datetime:
        """Return when the first of it is due."""
        return min(line.delivery.due_at for line in self.lines)

    @property
    def asks(self) -> bool:
        """Return whether any of it asks for a decision."""
        return any(line.asks for line in self.lines)


def lines_of(notifications: Iterable[Notification]) -> list[Line]:
    """Return all that is to be sent, now or later."""
    return [Line(told, delivery) for told in notifications for delivery in told.pending()]


def due(
    lines: Sequence[Line],
    now: datetime,
    sent: Mapping[Route, Sequence[datetime]],
    hourly: int = HOURLY,
) -> list[Batch]:
    """Return what to send now; ``sent`` says when messages went through each route before."""
    left = _Left(now, sent, hourly)
    fresh: dict[Route, list[Batch]] = {}
    chosen = list(_retries(lines, now))
    for batch in sorted(_together(lines, now), key=lambda one: one.due_at):
        fresh.setdefault(batch.route, []).append(batch)
    for route, batches in fresh.items():
        recent = [at for at in sent.get(route, ()) if now - at < timedelta(seconds=WINDOW_SEC)]
        chosen += left.of(route, list(_limited(batches, LIMIT - len(recent))))
    return chosen


class _Left:
    """What each user may still get in this hour."""

    def __init__(
        self, now: datetime, sent: Mapping[Route, Sequence[datetime]], hourly: int
    ) -> None:
        self._now = now
        self._sent = sent
        self._left: dict[str, int] = defaultdict(lambda: hourly)
        for (user, _), times in sent.items():
            self._left[user] -= sum(now - at < timedelta(seconds=HOUR_SEC) for at in times)

    def of(self, route: Route, batches: Sequence[Batch]) -> Sequence[Batch]:
        """Return what may be sent through a route, which then counts: the rest as one digest."""
        left = max(0, self._left[route[0]])
        self._left[route[0]] -= len(batches)
        if len(batches) <= left:
            return batches
        flooded = timedelta(seconds=FLOODED_SEC)
        if any(self._now - at < flooded for at in self._sent.get(route, ())) and not left:
            return ()
        rest = [line for batch in batches[left:] for line in batch.lines]
        return [*batches[:left], *list(_cut(rest, digest=True))[:1]]


def wake_at(
    lines: Sequence[Line], now: datetime, sent: Mapping[Route, Sequence[datetime]]
) -> datetime | None:
    """Return when to look again if nothing happens meanwhile, ``None`` for never."""
    later = [line.delivery.due_at for line in lines if line.delivery.due_at > now]
    held = {line.route for line in lines if line.delivery.due_at <= now}
    window = timedelta(seconds=WINDOW_SEC)
    flooded = timedelta(seconds=FLOODED_SEC)
    times = [at for route in held for at in sent.get(route, ())]
    later += [at + pause for at in times for pause in (window, flooded) if at + pause > now]
    return min(later, default=None)


def _retries(lines: Sequence[Line], now: datetime) -> Iterator[Batch]:
    again: dict[UUID, list[Line]] = {}
    for line in lines:
        if line.delivery.message_id is not None and line.delivery.due_at <= now:
            again.setdefault(line.delivery.message_id, []).append(line)
    for together in again.values():
        tasks = {line.notification.task_id for line in together}
        yield Batch(tuple(together), digest=len(tasks) > 1)


def _together(lines: Sequence[Line], now: datetime) -> Iterator[Batch]:
    """Yield what is new by route and task, where any of it is due."""
    groups: dict[tuple[object, ...], list[Line]] = {}
    for line in lines:
        if line.delivery.message_id is None:
            groups.setdefault((line.route, line.notification.task_id), []).append(line)
    for group in groups.values():
        if any(line.delivery.due_at <= now for line in group):
            yield from _cut(group, digest=False)


def _cut(lines: Sequence[Line], *, digest: bool) -> Iterator[Batch]:
    for first in range(0, len(lines), BATCH_MAX):
        yield Batch(tuple(lines[first : first + BATCH_MAX]), digest=digest)


def _limited(batches: Sequence[Batch], free: int) -> Iterator[Batch]:
    """Yield the batches of one route that may be sent, the last of them a digest if need be."""
    asking = [batch for batch in batches if batch.asks]
    others = [batch for batch in batches if not batch.asks]
    yield from asking
    free -= len(asking)
    if len(others) <= free:
        yield from others
    elif free > 0:
        yield from others[: free - 1]
        left = [line for batch in others[free - 1 :] for line in batch.lines]
        yield from list(_cut(left, digest=True))[:1]


def retry_at(
    attempt: int, now: datetime, dice: UUID, *, retry_after_sec: float | None = None
) -> datetime | None:
    """Return when to try again after the ``attempt``-th attempt failed, ``None`` for never.

    Not before ``retry_after_sec`` have passed, which the other side may ask for, within a day.
    """
    if attempt > len(RETRY_SEC):
        return None
    chance = (dice.int & 0xFFFF) / 0x10000  # the last bits of a UUIDv7 are random
    pause = RETRY_SEC[attempt - 1] * (1 + JITTER * chance)
    return now + timedelta(seconds=max(pause, min(retry_after_sec or 0.0, RETRY_AFTER_MAX_SEC)))
