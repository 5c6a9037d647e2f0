"""Every rule about a notification and its deliveries, by example."""

from __future__ import annotations

from datetime import timedelta

from events import notification as did
from events import notifying as do
from events.notification import Resolution
from pandar_daemon.domain.notification_state import DeliveryStatus
from pandar_daemon.domain.refusals import NotFound, Rejected
from tests.support.given import NOW, USER
from tests.support.notices import (
    CONFIRMATION,
    NOTIFICATION,
    asking,
    creation,
    delivery,
    number,
    report,
    told,
)

AGAIN = NOW + timedelta(seconds=5)
MISSING = f"there is no notification {NOTIFICATION}"


def test_it_is_created_with_its_deliveries() -> None:
    """Who is told, and every channel it is to go to, each an event."""
    wanted = creation(delivery(1), delivery(2))
    told().when(wanted).then(
        [
            did.NotificationCreated(
                notification_id=NOTIFICATION,
                user=USER,
                kind=wanted.kind,
                title=wanted.title,
                event_id=wanted.event_id,
                at=NOW,
                task_id=wanted.task_id,
                project_id=wanted.project_id,
            ),
            *(
                did.DeliveryRequested(
                    delivery_id=number(n),
                    channel=delivery(n).channel,
                    channel_sha256=delivery(n).channel_sha256,
                    origin=delivery(n).origin,
                    due_at=delivery(n).due_at,
                )
                for n in (1, 2)
            ),
        ]
    )


def test_created_again_it_is_the_same() -> None:
    """The notifier reads the log again after a crash: settings may have changed meanwhile."""
    told(creation(delivery(1))).when(creation(delivery(2), title="other")).then_nothing()


def test_what_is_not_there_is_not_found() -> None:
    """Every other command on a notification nobody got is a 404."""
    for command in (
        report(),
        do.RemindUser(number=1),
        do.ResolveNotification(outcome=Resolution.DENIED),
        do.ClickNotification(),
        do.MarkRead(),
    ):
        told().when(command).refuses(NotFound, MISSING)


def test_it_is_private() -> None:
    """In no project: everybody in a project may follow its events."""
    assert told(creation()).state.project_id == 0


# --- deliveries ------------------------------------------------------------------------------


def test_a_delivery_is_sent() -> None:
    """What was sent is pending no more."""
    before = told(creation(delivery()))
    before.when(report(detail="answered 200")).then(
        [
            did.DeliverySent(
                delivery_id=number(1), attempt=1, message_id=number(99), detail="answered 200"
            )
        ]
    )
    after = before.after(report())
    assert after.state.deliveries[number(1)].status is DeliveryStatus.SENT
    assert not after.state.is_open


def test_a_delivery_fails_and_is_tried_again() -> None:
    """It stays pending until its next attempt, which belongs to the same message."""
    before = told(creation(delivery()))
    before.when(report(error="answered 500", next_at=AGAIN)).then(
        [
            did.DeliveryFailed(
                delivery_id=number(1),
                attempt=1,
                message_id=number(99),
                error="answered 500",
                next_at=AGAIN,
            )
        ]
    )
    state = before.after(report(error="answered 500", next_at=AGAIN)).state.deliveries[number(1)]
    assert (state.is_pending, state.due_at, state.attempts) == (True, AGAIN, 1)
    assert state.message_id == number(99)


def test_a_delivery_fails_for_good() -> None:
    """Without a next attempt it is over."""
    after = told(creation(delivery()), report(error="gone"))
    assert after.state.deliveries[number(1)].status is DeliveryStatus.FAILED
    assert not after.state.is_open


def test_a_report_twice_counts_once() -> None:
    """Two services may deliver the same message: the first report of an attempt stands."""
    failed = told(creation(delivery()), report(error="no", next_at=AGAIN))
    failed.when(report(error="no", next_at=AGAIN)).then_nothing()
    failed.when(report()).then_nothing()
    sent = told(creation(delivery()), report())
    sent.when(report()).then_nothing()
    sent.when(report(attempt=2, error="no", next_at=AGAIN)).then_nothing()


def test_what_was_sent_after_all_is_said() -> None:
    """A later attempt that worked, though nobody waits for it any more, is a fact."""
    given_up = told(creation(delivery()), report(error="no"))
    assert given_up.after(report(attempt=2)).state.deliveries[number(1)].status == "sent"
    dropped = told(asking(delivery()), do.ResolveNotification(outcome=Resolution.DENIED))
    assert dropped.after(report()).state.deliveries[number(1)].status == "sent"


def test_a_delivery_nobody_asked_for_is_refused() -> None:
    """A report names a delivery of this notification."""
    told(creation(delivery())).when(report(7)).refuses(
        Rejected, f"delivery {number(7)} was never asked for"
    )


# --- confirmations ---------------------------------------------------------------------------


def test_a_reminder_is_one_more_delivery() -> None:
    """Each of the times to remind is used once, in their order."""
    before = told(asking(delivery(1)))
    remind = do.RemindUser(number=1, deliveries=[delivery(11)])
    (reminded, requested) = before.when(remind).happened
    assert reminded == did.NotificationReminded(number=1, next_at=NOW + timedelta(hours=9))
    assert isinstance(requested, did.DeliveryRequested)
    assert requested.reminder == 1
    after = before.after(remind)
    after.when(remind).then_nothing()
    assert after.after(do.RemindUser(number=2)).state.remind_at == ()


def test_there_are_no_more_reminders_than_times() -> None:
    """What has no time to remind is not reminded of."""
    told(creation(delivery())).when(do.RemindUser(number=1)).refuses(
        Rejected, "there is nothing to remind of"
    )


def test_decided_it_is_over() -> None:
    """What was not sent is dropped, and nobody is reminded; that again changes nothing."""
    before = told(asking(delivery(1), delivery(2)), report(1))
    resolve = do.ResolveNotification(outcome=Resolution.APPROVED, by="bob", reason="fine")
    before.when(resolve).then(
        [did.NotificationDecided(outcome=Resolution.APPROVED, by="bob", reason="fine")]
    )
    after = before.after(resolve)
    assert {one.status for one in after.state.deliveries.values()} == {"sent", "dropped"}
    assert not after.state.is_open
    after.when(resolve).then_nothing()
    after.when(do.ResolveNotification(outcome=Resolution.EXPIRED)).then_nothing()
    after.when(do.RemindUser(number=1)).then_nothing()


def test_only_a_confirmation_is_decided() -> None:
    """There is nothing to decide about a task that failed."""
    told(creation()).when(do.ResolveNotification(outcome=Resolution.OVER)).refuses(
        Rejected, "it is about no confirmation"
    )


def test_a_click_is_kept_once() -> None:
    """It decides nothing; a mail scanner clicks, too."""
    before = told(asking(delivery()))
    before.when(do.ClickNotification(by="ann")).then([did.NotificationClicked(by="ann")])
    after = before.after(do.ClickNotification(by="ann"))
    after.when(do.ClickNotification()).then_nothing()
    assert after.state.confirmation_id == CONFIRMATION
    assert not after.state.decided


# --- reading ---------------------------------------------------------------------------------


def test_read_and_new_again() -> None:
    """Its user marks it; marking it read twice is silent."""
    before = told(creation())
    before.when(do.MarkRead()).then([did.NotificationRead()])
    read = before.after(do.MarkRead())
    read.when(do.MarkRead()).then_nothing()
    read.when(do.MarkRead(read=False)).then([did.NotificationUnread()])


def test_nobody_else_marks_it() -> None:
    """To others it is not there."""
    told(creation()).when(do.MarkRead(), user="bob").refuses(NotFound, MISSING)
