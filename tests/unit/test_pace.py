"""The pace of the projector: at once after a pause, a beat apart under load."""

from __future__ import annotations

from itertools import accumulate

import pytest

from pandar_daemon.services.pace import Pace


def test_after_a_pause_two_may_follow_each_other() -> None:
    """Neither the first nor what belongs to it waits."""
    pace = Pace(2.0)
    assert pace.pause(100.0) == 0
    assert pace.pause(100.5) == 1.5
    assert pace.pause(200.0) == 0
    assert pace.pause(200.5) == 1.5


@pytest.mark.parametrize("takes_sec", [0.0, 0.5, 1.9])
def test_what_comes_all_the_time_comes_on_the_beat(takes_sec: float) -> None:
    """However long the work itself takes within the beat, it begins once a beat."""
    pace, now = Pace(2.0), 100.0
    begun = []
    for _ in range(5):
        begun.append(now)
        now += takes_sec
        now += pace.pause(now)
    assert begun[1:] == list(accumulate([2.0] * 3, initial=begun[1]))


def test_work_slower_than_the_beat_does_not_wait() -> None:
    """Being late is not made up for by waiting, nor by hurrying later."""
    pace = Pace(2.0)
    assert [pace.pause(now) for now in (100.0, 103.0, 106.0, 106.1)] == [
        0,
        0,
        0,
        pytest.approx(1.9),
    ]
