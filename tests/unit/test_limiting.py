"""Buckets that fill with time: exactly so much in a minute, each key alone, none for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pandar_daemon.domain.limiting import BUCKETS_MAX, Buckets


def test_a_minutes_worth_at_once_and_then_one_by_one() -> None:
    """The wait is until the next one fits, and no longer."""
    buckets = Buckets(6)
    assert [buckets.take("a", 100.0) for _ in range(6)] == [0.0] * 6
    assert buckets.take("a", 100.0) == pytest.approx(10.0)
    assert buckets.take("a", 109.0) == pytest.approx(1.0)
    assert buckets.take("a", 110.0) == 0.0
    assert buckets.take("a", 110.0) == pytest.approx(10.0)


def test_each_key_is_counted_alone_and_a_look_is_free() -> None:
    """Somebody else has all of theirs."""
    buckets = Buckets(1)
    assert buckets.take("a", 0.0) == 0.0
    assert buckets.take("b", 0.0) == 0.0
    assert buckets.wait_sec("c", 0.0) == buckets.wait_sec("c", 0.0) == 0.0


def test_who_asks_from_ever_new_addresses_costs_no_more_memory_than_this() -> None:
    """The one used longest ago is forgotten."""
    buckets = Buckets(1)
    for number in range(BUCKETS_MAX + 5):
        buckets.take(str(number), 0.0)
    assert len(buckets._buckets) == BUCKETS_MAX
    assert buckets.take("0", 0.0) == 0.0
    assert buckets.take(str(BUCKETS_MAX), 0.0) > 0.0


@given(
    per_minute=st.integers(1, 100),
    pauses=st.lists(st.floats(0, 30, allow_nan=False), min_size=1, max_size=200),
)
def test_no_more_than_a_minutes_worth_and_what_the_time_brought(
    per_minute: int, pauses: list[float]
) -> None:
    """However it is asked."""
    buckets, at, taken = Buckets(per_minute), 0.0, 0
    for pause in pauses:
        at += pause
        taken += not buckets.take("a", at)
    assert taken <= per_minute + at * per_minute / 60 + 1e-6
    assert buckets.take("a", at + 60 / per_minute) < 1e-6
