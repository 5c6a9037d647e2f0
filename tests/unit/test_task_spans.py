"""Stretches of time a search goes through: none is left out, none is looked at twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pandar_daemon.adapters.postgres.task_spans import Known, Span
from projections.task_table import SPAN_BASE, SPANS, minute

NEWEST = datetime(2026, 11, 22, 12, 34, 56, 789, tzinfo=UTC)
ENOUGH = 21


@given(
    near=st.timedeltas(timedelta(), timedelta(days=400)),
    age=st.timedeltas(timedelta(), timedelta(days=4_000)),
    found=st.lists(st.integers(0, ENOUGH - 1), max_size=40),
)
def test_spans_follow_each_other_to_the_beginning(
    near: timedelta, age: timedelta, found: list[int]
) -> None:
    """Each ends where the one before began; the last has no beginning, and comes soon."""
    known = Known(100_000, newest=NEWEST, near=NEWEST - near, oldest=NEWEST - age)
    span: Span | None = known.first()
    before, so_far = None, 0
    for more in [*found, *[0] * 40]:
        assert span is not None
        assert span.before == before
        so_far = min(ENOUGH - 1, so_far + more)
        before = span.since
        span = known.following(span, so_far, ENOUGH)
        if span is None:
            break
    assert before is None


@given(
    since=st.timedeltas(timedelta(minutes=4), timedelta(days=4_000)),
    at=st.floats(0, 1),
)
def test_places_hold_every_instant_of_a_span(since: timedelta, at: float) -> None:
    """Whenever in the stretch a task was made, it is in one of a few dozen places."""
    span = Span(NEWEST - since)
    places = span.places(NEWEST) or []
    made = minute(NEWEST - since * at)
    assert {n * SPAN_BASE + made // length for n, length in enumerate(SPANS)} & set(places)
    assert len(places) <= max(18, since // timedelta(minutes=SPANS[-1]) + 2)


def test_all_of_time_has_no_places() -> None:
    """The last stretch is asked for without them."""
    assert Span(None, NEWEST).places(NEWEST) is None


@pytest.mark.parametrize(
    ("found", "times"), [(0, 16), (1, 16), (7, 6), (20, 2)], ids=["none", "one", "some", "nearly"]
)
def test_the_next_is_longer_the_fewer_there_were(found: int, times: int) -> None:
    """Twice as long as would be enough, if matches are as frequent there."""
    known = Known(
        1_000_000,
        newest=NEWEST,
        near=NEWEST - timedelta(minutes=1),
        oldest=NEWEST - timedelta(days=900),
    )
    first = known.first()
    assert first == Span(NEWEST - timedelta(minutes=32))
    following = known.following(first, found, ENOUGH)
    assert following == Span(NEWEST - timedelta(minutes=32 * times), first.since)


@pytest.mark.parametrize(("found", "since"), [(0, None), (3, None), (7, timedelta(days=18))])
def test_all_of_time_is_looked_at_when_it_has_few(found: int, since: timedelta | None) -> None:
    """A long stretch takes as long; but not where all of time has more than can be read."""
    known = Known(100_000, newest=NEWEST, near=NEWEST, oldest=NEWEST - timedelta(days=60))
    seen = Span(NEWEST - timedelta(days=3))
    following = known.following(seen, found, ENOUGH)
    assert following == Span(None if since is None else NEWEST - since, seen.since)


def test_few_tasks_are_one_span() -> None:
    """Where there are not even some hundreds there is nothing to guess from."""
    assert Known(10, newest=NEWEST, oldest=NEWEST).first() == Span(None)
    assert Known(0).first() == Span(None)


def test_a_stretch_with_too_many_is_cut() -> None:
    """Its newest eighth is looked at, down to some minutes; the next follows that."""
    hour = timedelta(hours=1)
    known = Known(100_000, newest=NEWEST, near=NEWEST, oldest=NEWEST - 80 * hour)
    assert known.shorter(Span(NEWEST - 8 * hour)) == Span(NEWEST - hour)
    older = Span(NEWEST - 16 * hour, NEWEST - 8 * hour)
    assert known.shorter(older) == Span(NEWEST - 9 * hour, NEWEST - 8 * hour)
    assert known.shorter(Span(None)) == Span(NEWEST - 10 * hour)
    assert known.shorter(Span(NEWEST - hour / 4)) is None
    following = known.following(Span(NEWEST - hour), 2, ENOUGH)
    assert following == Span(NEWEST - 16 * hour, NEWEST - hour)
