"""A notification, and settings, as the API shows them, folded from their own events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from events import codec
from events.envelope import Recorded
from events.task import Json
from pandar_daemon.domain import notify_settings
from pandar_daemon.domain.notify_settings import Settings
from projections.base import Row, fold, plain
from projections.notifications import DELIVERIES_TABLE, NOTIFICATIONS, NOTIFICATIONS_TABLE

_HIDDEN: Final = frozenset({"event_id", "remind_at", "marked_at"})
_HIDDEN_OF_DELIVERY: Final = frozenset({"notification_id", "channel_sha256"})


def as_of(history: Iterable[Recorded]) -> Json | None:
    """Return the notification after these events of one notification, ``None`` without any."""
    tables = fold(NOTIFICATIONS, history)
    for row in tables[NOTIFICATIONS_TABLE.name].values():
        decided = row["decided_at"] is not None
        found = tables[DELIVERIES_TABLE.name].values()
        return {
            **{name: plain(value) for name, value in row.items() if name not in _HIDDEN},
            "deliveries": [_delivery(one, decided=decided) for one in found],
        }
    return None


def _delivery(row: Row, *, decided: bool) -> Json:
    shown = {name: plain(value) for name, value in row.items() if name not in _HIDDEN_OF_DELIVERY}
    dropped = decided and shown["status"] == "pending"
    return {**shown, "status": "dropped"} if dropped else shown


def settings(of: UUID | int, history: Iterable[Recorded]) -> Settings:
    """Return settings after these events of theirs."""
    state = notify_settings.initial(of)
    for recorded in history:
        event = codec.decode(recorded)
        state = state if event is None else notify_settings.evolve(state, event)
    return state
