"""Retention: what of tasks that are over goes, and when; what goes on is never touched."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from events.running import Ending
from pandar_daemon.domain.keeping import MB, Keeping, excess, overdue
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import Cleared, Space
from pandar_daemon.services.retention import ASKED_MAX, Retention
from pandar_daemon.telemetry import Metrics
from tests.support.clock import ManualClock

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TERMS = Keeping(keep_days=14, keep_failed_days=30)


def ended(days: float, *, failed: bool = False) -> Ending:
    """Return the end of a task so many days ago."""
    return Ending(at=NOW - timedelta(days=days), failed=failed)


class DiskOf:
    """The folders of some tasks, ``used`` bytes each, without a disk."""

    def __init__(self, used: dict[int, int]) -> None:
        self.tasks_used = used
        self.discarded: list[int] = []
        self.cleared: list[datetime] = []
        self.more = 0

    def space(self) -> Space:
        """Return any."""
        return Space(free=1, total=2)

    def tasks(self) -> list[int]:
        """Return whose folders are left."""
        return sorted(self.tasks_used)

    def used(self, task_id: int) -> int:
        """Return what was said."""
        return self.tasks_used[task_id]

    def discard(self, task_ids: Collection[int]) -> list[str]:
        """Take note."""
        for task_id in task_ids:
            del self.tasks_used[task_id]
            self.discarded.append(task_id)
        return []

    def clear(self, *, unused_since: datetime, limit: int) -> Cleared:
        """Take note; there is more to do as often as ``more`` says."""
        self.cleared.append(unused_since)
        self.more -= 1
        return Cleared(removed=limit if self.more >= 0 else 0, more=self.more >= 0)


class Daemon:
    """Answers which tasks are over."""

    def __init__(self, endings: dict[int, Ending]) -> None:
        self.endings = endings
        self.asked: list[int] = []

    async def ask(self, task_ids: Sequence[int]) -> dict[int, Ending]:
        """Return the endings there are."""
        self.asked.append(len(task_ids))
        return {each: self.endings[each] for each in task_ids if each in self.endings}


def retention(
    disk: DiskOf, daemon: Daemon, terms: Keeping = TERMS, in_hand: Collection[int] = ()
) -> Retention:
    """Return one that is not running."""
    return Retention(
        folders=disk,
        terms=terms,
        ask=daemon.ask,
        in_hand=lambda: in_hand,
        clock=ManualClock(NOW),
        metrics=Metrics(),
    )


@pytest.mark.parametrize(
    ("ending", "goes"),
    [
        (ended(14.01), True),
        (ended(14), False),
        (ended(13.99), False),
        (ended(14.01, failed=True), False),
        (ended(30, failed=True), False),
        (ended(30.01, failed=True), True),
    ],
)
def test_what_ended_long_ago_goes_and_failed_tasks_later(ending: Ending, *, goes: bool) -> None:
    """The border itself is kept."""
    assert overdue({7: ending}, TERMS, NOW) == ([7] if goes else [])


def test_the_oldest_go_first_until_all_fits() -> None:
    """What goes on counts, and stays, even if all that ended does not make room enough."""
    endings = {1: ended(1), 2: ended(3), 3: ended(2)}
    used = {1: 10 * MB, 2: 10 * MB, 3: 10 * MB, 9: 50 * MB}

    def going(limit: int) -> list[int]:
        return excess(endings, used, Keeping(max_disk_mb=limit))

    assert going(80) == []
    assert going(79) == [2]
    assert going(70) == [2]
    assert going(69) == [2, 3]
    assert going(0) == [2, 3, 1]
    assert excess(endings, used, Keeping()) == []


async def test_who_goes_on_or_is_unknown_or_in_hand_keeps_all() -> None:
    """Only a task that the daemon says is over loses its folders."""
    disk = DiskOf(dict.fromkeys(range(1, 6), MB))
    daemon = Daemon({1: ended(20), 2: ended(20), 3: ended(1)})
    assert await retention(disk, daemon, in_hand={2}).tidy() == [1]
    assert disk.tasks() == [2, 3, 4, 5]


async def test_a_quota_takes_what_ended_just_now_but_nothing_else() -> None:
    """Over the quota, the oldest that ended goes; those that go on stay however big."""
    disk = DiskOf({1: 5 * MB, 2: 5 * MB, 3: 500 * MB})
    daemon = Daemon({1: ended(2), 2: ended(1)})
    assert await retention(disk, daemon, Keeping(max_disk_mb=505)).tidy() == [1]
    assert await retention(disk, daemon, Keeping(max_disk_mb=1)).tidy() == [2]
    assert disk.tasks() == [3]


async def test_many_tasks_are_asked_about_some_at_a_time() -> None:
    """As many as a command may name."""
    disk = DiskOf(dict.fromkeys(range(1, 251), 0))
    daemon = Daemon(dict.fromkeys(range(1, 251), ended(99)))
    assert len(await retention(disk, daemon).tidy()) == 250
    assert daemon.asked == [ASKED_MAX, ASKED_MAX, 50]


async def test_clearing_goes_on_while_there_is_more() -> None:
    """A call does a little; the round ends when there is nothing more to do."""
    disk = DiskOf({})
    disk.more = 3
    await retention(disk, Daemon({})).tidy()
    assert disk.cleared == [NOW - timedelta(days=14)] * 4


async def test_without_the_daemon_nothing_goes() -> None:
    """No answer, no guess."""
    disk = DiskOf({1: MB})

    async def away(_: Sequence[int]) -> dict[int, Ending]:
        raise Unavailable("nobody answers")

    daemon = Daemon({})
    tidier = retention(disk, daemon)
    tidier._ask = away
    with pytest.raises(Unavailable):
        await tidier.tidy()
    assert disk.tasks() == [1]

    running = asyncio.create_task(tidier.run())
    await asyncio.sleep(0)
    assert not running.done(), "it waits and tries again"
    running.cancel()
