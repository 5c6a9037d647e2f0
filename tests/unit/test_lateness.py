"""How late a follower of the log is, as probes at any times see it."""

from __future__ import annotations

from pandar_daemon.adapters.http.health import Lateness


def test_a_follower_at_the_end_is_not_late() -> None:
    """However fast the log grows."""
    late = Lateness()
    assert [late.seconds(head, head, float(head)) for head in range(5)] == [0.0] * 5


def test_one_who_keeps_up_is_as_late_as_its_last_step() -> None:
    """Never at the end, it reaches each end of the log by the next probe."""
    late = Lateness()
    assert late.seconds(10, 7, 0.0) == 0.0
    assert [late.seconds(10 * n, 10 * n - 3, float(n)) for n in range(2, 9)] == [0.0] * 7


def test_one_who_stands_is_later_and_later() -> None:
    """By the time since the log was first seen beyond it, whatever came after that."""
    late = Lateness()
    assert [late.seconds(8 + n, 7, 5.0 * n) for n in range(4)] == [0.0, 5.0, 10.0, 15.0]
    assert late.seconds(11, 9, 20.0) == 10.0  # the log was at 10 ten seconds ago
    assert late.seconds(11, 11, 25.0) == 0.0


def test_another_log_begins_anew() -> None:
    """After a restored backup the positions seen before say nothing."""
    late = Lateness()
    assert late.seconds(100, 50, 0.0) == 0.0
    assert late.seconds(80, 50, 60.0) == 0.0
    assert late.seconds(80, 50, 70.0) == 10.0


def test_its_memory_is_bounded() -> None:
    """A follower that stands for ever costs no more and more."""
    late = Lateness()
    for n in range(5_000):
        late.seconds(n + 1, 0, float(n))
    assert len(late._seen) == 1_000
    assert late.seconds(5_001, 0, 5_000.0) == 5_000.0
