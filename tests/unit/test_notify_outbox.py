"""What is to be sent when: gathering, digests, limits, retries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.notification import NotificationType
from pandar_daemon.domain import notification, notification_state
from pandar_daemon.domain.outbox import (
    BATCH_MAX,
    LIMIT,
    RETRY_SEC,
    Batch,
    Line,
    due,
    lines_of,
    retry_at,
    wake_at,
)
from tests.support.given import NOW, USER
from tests.support.notices import HOOK, SLACK, creation, delivery, number, report

ROUTE = (USER, delivery().channel_sha256)


def line(
    n: int, *, task: int = 42, asks: bool = False, after_sec: float = 5.0, channel: str = HOOK
) -> Line:
    """Return the n-th delivery, due in some seconds."""
    kind = NotificationType.CONFIRMATION_REQUIRED if asks else NotificationType.TASK_COMPLETED
    wanted = creation(
        delivery(n, after_sec=after_sec, channel=channel),
        kind=kind,
        task_id=task,
        notification_id=number(1_000 + n),
    )
    state = notification_state.initial(number(1_000 + n))
    for event in notification.decide(state, wanted, USER):
        state = notification_state.evolve(state, event)
    return lines_of([state])[0]


def failed(one: Line, message: UUID, *, again_sec: float) -> Line:
    """Return a line whose attempt failed, as part of a message."""
    state = one.notification
    told = report(
        1,
        error="no",
        next_at=NOW + timedelta(seconds=again_sec),
        message_id=message,
        delivery_id=one.delivery.delivery_id,
    )
    for event in notification.decide(state, told, USER):
        state = notification_state.evolve(state, event)
    return lines_of([state])[0]


def at(seconds: float) -> datetime:
    """Return a time so many seconds from now."""
    return NOW + timedelta(seconds=seconds)


def sizes(batches: Sequence[Batch]) -> list[int]:
    """Return how much is in each message."""
    return [len(batch.lines) for batch in batches]


# --- gathering -------------------------------------------------------------------------------


def test_nothing_is_sent_before_it_is_due() -> None:
    """And then at once."""
    lines = [line(1)]
    assert due(lines, at(4.9), {}) == []
    assert sizes(due(lines, at(5), {})) == [1]
    assert wake_at(lines, NOW, {}) == at(5)


def test_messages_of_one_task_become_one() -> None:
    """What comes while the first is held back goes with it."""
    batches = due([line(1), line(2, after_sec=9)], at(5), {})
    assert sizes(batches) == [2]
    assert not batches[0].digest


def test_other_tasks_and_other_channels_have_messages_of_their_own() -> None:
    """A message is about one task, and goes through one channel."""
    lines = [line(1), line(2, task=43), line(3, channel=SLACK)]
    assert sizes(due(lines, at(5), {})) == [1, 1, 1]


def test_a_request_takes_the_others_along() -> None:
    """A confirmation is not held back for what came before it, which is sent with it."""
    lines = [line(1, after_sec=60), line(2, asks=True, after_sec=1)]
    assert sizes(due(lines, at(1), {})) == [2]


def test_a_message_is_known_by_what_is_in_it() -> None:
    """The same content has the same id, whatever its order; other content another."""
    one, two = line(1), line(2)
    assert Batch((one,)).message_id == one.delivery.delivery_id
    assert Batch((one, two)).message_id == Batch((two, one)).message_id
    assert Batch((one, two)).message_id != Batch((one, line(3))).message_id


# --- limits ----------------------------------------------------------------------------------


def test_a_flood_becomes_a_digest() -> None:
    """Nine messages, and one with all the rest: ten a minute through one channel."""
    lines = [line(n, task=n) for n in range(1, 31)]
    batches = due(lines, at(5), {})
    assert sizes(batches) == [1] * (LIMIT - 1) + [30 - LIMIT + 1]
    assert [batch.digest for batch in batches] == [False] * (LIMIT - 1) + [True]


def test_after_ten_the_rest_waits_for_the_minute_to_pass() -> None:
    """Then it is one digest, which counts as the next message."""
    lines = [line(n, task=n) for n in range(1, 6)]
    sent = {ROUTE: [at(n) for n in range(LIMIT)]}
    assert due(lines, at(30), sent) == []
    assert wake_at(lines, at(30), sent) == at(60)
    assert sizes(due(lines, at(60), sent)) == [5]
    assert sizes(due(lines[:1], at(60), sent)) == [1]


def test_other_channels_are_not_held_up() -> None:
    """Each channel of each user has its own ten."""
    sent = {ROUTE: [at(n) for n in range(LIMIT)]}
    assert sizes(due([line(1, channel=SLACK)], at(30), sent)) == [1]


def test_a_request_for_a_decision_is_bound_by_no_limit() -> None:
    """Whatever else waits, it is sent when it is due."""
    sent = {ROUTE: [at(n) for n in range(LIMIT)]}
    lines = [line(1, task=1), *(line(n, task=n, asks=True, after_sec=1) for n in range(2, 40))]
    batches = due(lines, at(30), sent)
    assert len(batches) == 38
    assert all(batch.asks for batch in batches)


def test_a_digest_is_bounded() -> None:
    """A message has an end; the rest is the next one's."""
    lines = [line(n, task=n) for n in range(1, BATCH_MAX + 50)]
    assert sizes(due(lines, at(5), {}))[-1] == BATCH_MAX


@given(
    st.lists(
        st.tuples(
            st.integers(1, 5), st.booleans(), st.floats(0, 100), st.sampled_from([HOOK, SLACK])
        ),
        max_size=40,
    ),
    st.lists(st.floats(-100, 100), max_size=LIMIT),
)
def test_nothing_is_sent_twice_and_no_request_waits(
    wanted: list[tuple[int, bool, float, str]], before: list[float]
) -> None:
    """Whatever is to be sent: each line at most once, due requests always, limits kept."""
    lines = [
        line(n, task=task, asks=asks, after_sec=after, channel=channel)
        for n, (task, asks, after, channel) in enumerate(wanted, 1)
    ]
    now, sent = at(50), {ROUTE: [at(seconds) for seconds in before if seconds <= 50]}
    batches = due(lines, now, sent)
    ids = [one.delivery.delivery_id for batch in batches for one in batch.lines]
    assert len(ids) == len(set(ids))
    asked = {one.delivery.delivery_id for one in lines if one.asks and one.delivery.due_at <= now}
    assert asked <= set(ids)
    recent = sum(now - each < timedelta(seconds=60) for each in sent[ROUTE])
    others = [batch for batch in batches if batch.route == ROUTE and not batch.asks]
    assert len(others) <= max(LIMIT - recent, 0)


# --- retries ---------------------------------------------------------------------------------


def test_what_failed_is_the_same_message_again() -> None:
    """Neither what came meanwhile nor a limit changes it: it has been counted."""
    first = Batch((line(1), line(2)))
    again = [failed(one, first.message_id, again_sec=10) for one in first.lines]
    sent = {ROUTE: [at(n) for n in range(LIMIT)]}
    assert due(again, at(9), sent) == []
    (batch,) = due([*again, line(3, after_sec=60)], at(10), sent)
    assert (batch.message_id, batch.attempt) == (first.message_id, 2)


def test_what_is_left_of_a_message_is_another_one() -> None:
    """One of its notifications was decided meanwhile: a receiver must not drop the rest."""
    first = Batch((line(1), line(2)))
    left = failed(first.lines[0], first.message_id, again_sec=10)
    (batch,) = due([left], at(10), {})
    assert batch.message_id != first.message_id


def test_a_digest_stays_one() -> None:
    """It is of several tasks."""
    lines = (line(1, task=1), line(2, task=2))
    message = Batch(lines).message_id
    (batch,) = due([failed(one, message, again_sec=1) for one in lines], at(1), {})
    assert batch.digest


def test_retries_are_those_of_standard_webhooks() -> None:
    """5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 24 h, and then no more."""
    assert RETRY_SEC == (5, 300, 1_800, 7_200, 18_000, 36_000, 86_400)
    none = UUID(int=0)
    for attempt, pause in enumerate(RETRY_SEC, 1):
        assert retry_at(attempt, NOW, none) == at(pause)
    assert retry_at(len(RETRY_SEC) + 1, NOW, none) is None


@given(st.uuids(), st.integers(1, 7))
def test_retries_are_spread(dice: UUID, attempt: int) -> None:
    """By chance up to a tenth later, never earlier."""
    again = retry_at(attempt, NOW, dice)
    assert again is not None
    pause = (again - NOW).total_seconds()
    assert RETRY_SEC[attempt - 1] <= pause <= RETRY_SEC[attempt - 1] * 1.1


@pytest.mark.parametrize(("asked", "pause"), [(None, 5), (2, 5), (120, 120), (1e9, 86_400)])
def test_who_asks_to_wait_is_waited_for(asked: float | None, pause: float) -> None:
    """``Retry-After`` counts if it is later, up to a day."""
    assert retry_at(1, NOW, UUID(int=0), retry_after_sec=asked) == at(pause)


def test_dropped_lines_are_none() -> None:
    """Only what is pending is to be sent."""
    state = line(1).notification
    gone = msgspec.structs.replace(
        state.deliveries[number(1)], status=notification_state.DeliveryStatus.DROPPED
    )
    assert lines_of([msgspec.structs.replace(state, deliveries={number(1): gone})]) == []


# --- floods ----------------------------------------------------------------------------------


def test_beyond_an_hours_worth_even_requests_come_in_one_digest() -> None:
    """Of five that ask, where three are left: two and a digest of the others would be three."""
    lines = [line(n, task=n, asks=True, after_sec=0) for n in range(1, 6)]
    batches = due(lines, at(0), {}, hourly=3)
    assert sizes(batches) == [1, 1, 1, 2]
    assert [batch.digest for batch in batches] == [False, False, False, True]
    assert sizes(due(lines, at(0), {}, hourly=5)) == [1] * 5


def test_a_flooded_user_gets_a_digest_now_and_then_through_each_channel() -> None:
    """Nothing is lost: what is held is in the next one, and somebody wakes for it."""
    sent = {ROUTE: [at(-3_000), at(-100)]}
    lines = [line(n, task=n, asks=n < 3, after_sec=0) for n in range(1, 5)]
    assert due(lines, at(0), sent, hourly=2) == []
    assert wake_at(lines, at(0), sent) == at(500)
    (digest,) = due(lines, at(500), sent, hourly=2)
    assert (digest.digest, len(digest.lines)) == (True, 4)
    elsewhere = [line(9, task=9, channel=SLACK, after_sec=0)]
    assert sizes(due(elsewhere, at(0), sent, hourly=2)) == [1]
    assert sizes(due(lines, at(700), sent, hourly=2)) == [1, 3], "an hour after the first"


def test_an_hour_later_messages_are_single_again() -> None:
    """The window moves on."""
    sent = {ROUTE: [at(-3_601), at(-3_600)]}
    lines = [line(n, task=n, asks=True, after_sec=0) for n in range(1, 3)]
    assert sizes(due(lines, at(0), sent, hourly=2)) == [1, 1]
