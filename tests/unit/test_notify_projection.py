"""The read model of notifications, by example."""

from __future__ import annotations

from datetime import timedelta

from events import notification as did
from events.ids import notification_stream, user_settings_stream
from events.notification import Resolution
from events.task import Event
from pandar_daemon.adapters.http import notification_rows
from pandar_daemon.domain import notification, notification_state
from pandar_daemon.domain.notification import NotificationCommand
from projections.base import Row, fold
from projections.notifications import (
    DELIVERIES_TABLE,
    NOTIFICATIONS,
    NOTIFICATIONS_TABLE,
    READERS_TABLE,
)
from tests.support.given import NOW, TASK_ID, USER
from tests.support.lives import Chronicle
from tests.support.notices import NOTIFICATION, asking, creation, delivery, number, report

STREAM = notification_stream(NOTIFICATION)


def happened(*commands: NotificationCommand) -> list[Event]:
    """Return what commands make happen to the notification."""
    state, events = notification_state.initial(NOTIFICATION), list[Event]()
    for command in commands:
        for event in notification.decide(state, command, USER):
            state = notification_state.evolve(state, event)
            events.append(event)
    return events


def tables(*events: Event) -> dict[str, list[Row]]:
    """Return all rows after these events of the notification."""
    told = Chronicle()
    told.add(STREAM, *events, project_id=None)
    return {name: list(rows.values()) for name, rows in fold(NOTIFICATIONS, told.recorded).items()}


def test_a_notification_is_a_row_and_each_delivery_one() -> None:
    """The row is its user's; the deliveries tell where it is to go."""
    rows = tables(*happened(asking(delivery(1), delivery(2))))
    (row,) = rows[NOTIFICATIONS_TABLE.name]
    assert (row["user_id"], row["task_id"], row["type"]) == (USER, TASK_ID, "confirmation_required")
    assert (row["is_read"], row["marked_at"], row["position"]) == (False, 1, 1)
    assert (row["created_at"], row["remind_at"]) == (NOW, NOW + timedelta(hours=5))
    assert [each["status"] for each in rows[DELIVERIES_TABLE.name]] == ["pending", "pending"]


def test_deliveries_end() -> None:
    """Sent, or failed for good with the reason; until then the next attempt is known."""
    again = NOW + timedelta(seconds=5)
    rows = tables(
        *happened(
            creation(delivery(1), delivery(2), delivery(3)),
            report(1, detail="answered 200"),
            report(2, error="answered 500", next_at=again),
            report(3, error="gone"),
        )
    )
    found = [
        (each["status"], each["attempts"], each["detail"]) for each in rows[DELIVERIES_TABLE.name]
    ]
    assert found == [
        ("sent", 1, "answered 200"),
        ("pending", 1, "answered 500"),
        ("failed", 1, "gone"),
    ]
    assert rows[DELIVERIES_TABLE.name][1]["due_at"] == again
    assert rows[NOTIFICATIONS_TABLE.name][0]["sent_at"] is not None


def test_a_decision_ends_reminders() -> None:
    """Who decided, and how; what was not sent shows as dropped."""
    told = Chronicle()
    told.add(STREAM, *happened(asking(delivery(1))), project_id=None)
    told.add(STREAM, did.NotificationReminded(number=1, next_at=NOW), project_id=None)
    told.add(STREAM, did.NotificationClicked(by="ann"), project_id=None)
    decided = did.NotificationDecided(outcome=Resolution.DENIED, by="bob")
    told.add(STREAM, decided, project_id=None)
    (row,) = fold(NOTIFICATIONS, told.recorded)[NOTIFICATIONS_TABLE.name].values()
    assert (row["outcome"], row["decided_by"], row["remind_at"]) == ("denied", "bob", None)
    assert row["clicked_at"] is not None
    shown = notification_rows.as_of(told.recorded)
    assert shown is not None
    assert [each["status"] for each in shown["deliveries"]] == ["dropped"]


def test_marks_are_kept_with_their_position() -> None:
    """So that "all read" and a later "new again" are told apart."""
    rows = tables(*happened(creation()), did.NotificationRead(), did.NotificationUnread())
    (row,) = rows[NOTIFICATIONS_TABLE.name]
    assert (row["is_read"], row["marked_at"]) == (False, 3)


def test_all_read_is_the_users() -> None:
    """Up to the position it names, or that of the event itself."""
    told = Chronicle()
    told.add(user_settings_stream(USER), did.ReadAll(user=USER, up_to=0), project_id=None)
    assert fold(NOTIFICATIONS, told.recorded)[READERS_TABLE.name][(USER,)]["read_up_to"] == 0
    told.add(user_settings_stream(USER), did.ReadAll(user=USER), project_id=None)
    assert fold(NOTIFICATIONS, told.recorded)[READERS_TABLE.name][(USER,)]["read_up_to"] == 2


def test_without_events_there_is_none() -> None:
    """An empty stream is no notification."""
    assert notification_rows.as_of([]) is None
    assert number(1) != NOTIFICATION
