"""When a runner may claim ahead: only where all has been brief, and is."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from events.running import Assignment
from pandar_daemon.services.ahead import BRIEF_SEC, SAMPLE, Ahead
from tests.support.clock import ManualClock

SLOTS = 4


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that stands still."""
    return ManualClock()


@pytest.fixture
def ahead(clock: ManualClock) -> Ahead:
    """Return a line nobody waits in."""
    return Ahead(clock, SLOTS)


def lives(ahead: Ahead, clock: ManualClock, count: int, seconds: float = BRIEF_SEC) -> None:
    """Let so many executions take so long."""
    for _ in range(count):
        execution_id = uuid4()
        ahead.began(execution_id)
        clock.advance(seconds)
        ahead.ended(execution_id)
        ahead.ended(execution_id)


def assignment(number: int) -> Assignment:
    """Return an execution."""
    return Assignment(
        task_id=number,
        project_id=1,
        execution_id=UUID(int=number),
        epoch=1,
        attempt=1,
        command="true",
        name="t",
        metadata={},
    )


def test_only_after_enough_that_were_brief(ahead: Ahead, clock: ManualClock) -> None:
    """One fewer is too few."""
    lives(ahead, clock, SAMPLE - 1)
    assert ahead.room == 0
    lives(ahead, clock, 1)
    assert ahead.room == SLOTS


def test_one_that_was_not_counts_until_enough_others_followed(
    ahead: Ahead, clock: ManualClock
) -> None:
    """It is the longest that counts, not the mean."""
    lives(ahead, clock, SAMPLE)
    lives(ahead, clock, 1, BRIEF_SEC * 1.01)
    assert ahead.room == 0
    lives(ahead, clock, SAMPLE - 1)
    assert ahead.room == 0
    lives(ahead, clock, 1)
    assert ahead.room == SLOTS


def test_none_while_one_lasts(ahead: Ahead, clock: ManualClock) -> None:
    """Who has a slot for longer may have it for hours."""
    lives(ahead, clock, SAMPLE)
    ahead.began(lasting := uuid4())
    clock.advance(BRIEF_SEC)
    assert ahead.room == SLOTS
    clock.advance(0.01)
    assert ahead.room == 0
    ahead.ended(lasting)
    assert ahead.room == 0


def test_those_who_wait_are_taken_in_turn(ahead: Ahead, clock: ManualClock) -> None:
    """One who came twice waits once, and takes room while it waits."""
    lives(ahead, clock, SAMPLE)
    for number in (1, 2, 3, 2):
        ahead.add(assignment(number))
    assert ahead.room == SLOTS - 3
    taken = [ahead.take() for _ in range(4)]
    assert [each and each.task_id for each in taken] == [1, 2, 3, None]
    assert ahead.room == SLOTS
