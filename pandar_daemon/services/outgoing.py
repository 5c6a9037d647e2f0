"""What is still to be sent, as the log has it: kept in memory, and judged again before it is sent.

The events of notifications are followed like all others. What began before that is found by a
query, now and then: its answer may be a moment old, so each stream it names is read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from msgspec import Struct

from events import codec, ids
from events.envelope import Recorded
from pandar_daemon.domain import notification_state
from pandar_daemon.domain.notification_state import Notification
from pandar_daemon.ports import EventStore, NotificationReads

RECOVERED_MAX: Final = 5_000
"""Notifications a look finds at most; the others are found by the next ones."""

_OPENS: Final = "notification.delivery_requested"
"""What makes something be sent of a notification of which nothing was to be sent any more."""


class _Held(Struct, frozen=True):
    state: Notification
    version: int


class Outgoing:
    """The notifications that are open: something of them is to be sent, now or later."""

    def __init__(self, store: EventStore, reads: NotificationReads) -> None:
        """Read streams from ``store``, and learn from ``reads`` which there are."""
        self._store = store
        self._reads = reads
        self._held: dict[UUID, _Held] = {}
        self._unread: set[UUID] = set()

    @property
    def open(self) -> Iterable[Notification]:
        """Return what is open, as far as it is known."""
        return (held.state for held in self._held.values())

    def hear(self, recorded: Recorded) -> None:
        """Take the next event of the log, of whatever stream."""
        if ids.category_of(recorded.stream) != "notification":
            return
        id_ = UUID(ids.id_of(recorded.stream))
        held = self._held.get(id_, _Held(notification_state.initial(id_), 0))
        if recorded.version == held.version + 1:
            event = codec.decode(recorded)
            state = held.state if event is None else notification_state.evolve(held.state, event)
            self._hold(_Held(state, recorded.version))
        elif recorded.version > held.version and recorded.type == _OPENS:
            self._unread.add(id_)

    async def recover(self) -> None:
        """Learn of everything that is open; raises `Unavailable`."""
        found = await self._reads.open(limit=RECOVERED_MAX)
        self._unread.update(id_ for id_ in found if id_ not in self._held)

    async def read_up(self) -> None:
        """Read what was missed."""
        while self._unread:
            await self.fresh(next(iter(self._unread)))

    async def fresh(self, notification_id: UUID) -> Notification:
        """Return a notification as the log has it now."""
        recorded = await self._store.read_stream(ids.notification_stream(notification_id))
        state = notification_state.initial(notification_id)
        for each in recorded:
            event = codec.decode(each)
            state = state if event is None else notification_state.evolve(state, event)
        self._hold(_Held(state, len(recorded)))
        self._unread.discard(notification_id)
        return state

    def forget(self, notification_id: UUID) -> None:
        """Leave a notification until the next `recover`, or the next that happens to it."""
        self._held.pop(notification_id, None)

    def _hold(self, held: _Held) -> None:
        id_ = held.state.notification_id
        known = self._held.get(id_)
        if known is not None and known.version > held.version:
            return
        if held.state.is_open:
            self._held[id_] = held
        else:
            self._held.pop(id_, None)
