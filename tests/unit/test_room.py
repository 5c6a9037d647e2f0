"""Room on the disk: who takes too much ends, some stays free, and it says why."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import pytest

from events.running import Held
from pandar_daemon.domain import filling
from pandar_daemon.domain.filling import Filled
from pandar_daemon.ports import Cleared, Space
from pandar_daemon.services.room import SETTLE_SEC, Room
from pandar_daemon.telemetry import Metrics
from tests.support.clock import ManualClock

MB, GB = 2**20, 2**30


class Disk:
    """A disk of 100 GB whose tasks take what a test says."""

    def __init__(self) -> None:
        self.free = 50 * GB
        self.taken: dict[int, int] = {}
        self.measured: list[int] = []

    def space(self) -> Space:
        """Return what is free."""
        return Space(free=self.free, total=100 * GB)

    def tasks(self) -> list[int]:
        """Return none: nobody asks."""
        return []

    def used(self, task_id: int) -> int:
        """Return what a task takes, and take note that it was measured."""
        self.measured.append(task_id)
        return self.taken.get(task_id, 0)

    def discard(self, task_ids: Collection[int]) -> list[str]:
        """Do nothing."""
        return [str(task_ids)]

    def clear(self, *, unused_since: datetime, limit: int) -> Cleared:
        """Do nothing."""
        return Cleared(left=(str(unused_since), str(limit)))

    def write(self, task_id: int, count: int) -> None:
        """Let a task take more."""
        self.taken[task_id] = self.taken.get(task_id, 0) + count
        self.free -= count


class Running:
    """An execution that may take 20 GB."""

    def __init__(self, task_id: int) -> None:
        self.task_id = task_id
        self.held = Held(task_id=task_id, execution_id=UUID(int=task_id), epoch=1)
        self.disk_bytes = 20 * GB
        self.errors: list[str] = []

    async def overfill(self, error: str) -> None:
        """Take note of why it ends."""
        self.errors.append(error)


class Site:
    """A room over some executions."""

    def __init__(self, *task_ids: int) -> None:
        self.disk = Disk()
        self.clock = ManualClock()
        self.running = [Running(task_id) for task_id in task_ids]
        self.room = Room(
            folders=self.disk,
            watched=lambda: self.running,
            reserve_bytes=GB,
            clock=self.clock,
            metrics=Metrics(),
        )

    async def look(self, *, after: float = 0.5) -> None:
        """Look once, after so long."""
        self.clock.advance(after)
        await self.room.look()


async def test_an_execution_past_its_limit_ends_and_is_told_by_how_much() -> None:
    """At the limit it goes on; a byte more ends it, once; its neighbour goes on."""
    site = Site(1, 2)
    await site.look()
    site.disk.write(1, 20 * GB)
    await site.look()
    assert site.running[0].errors == []
    site.disk.write(1, GB)
    await site.look()
    await site.look()
    assert site.running[0].errors == ["used 21.0 GB of 20.0 GB disk"]
    assert site.running[1].errors == []
    assert not site.room.is_short


async def test_a_tree_is_walked_only_when_it_matters() -> None:
    """While the disk loses little nothing is measured but now and then."""
    site = Site(1)
    await site.look()
    for _ in range(20):
        site.disk.write(1, 100 * MB)
        await site.look()
    assert site.disk.measured == [1]
    await site.look(after=filling.EVERY_SEC)
    assert site.disk.measured == [1, 1]
    site.disk.write(1, 10 * GB)  # half of what it had left
    await site.look()
    assert site.disk.measured == [1, 1, 1]


async def test_below_the_reserve_what_grew_most_ends_and_then_the_next() -> None:
    """One at a time, with time for its room to come back; nothing new begins meanwhile."""
    site = Site(1, 2, 3)
    site.disk.taken = {1: 15 * GB}
    await site.look()
    site.disk.write(2, 4 * GB)
    site.disk.write(3, 2 * GB)
    site.disk.free = 900 * MB
    await site.look()
    assert site.room.is_short
    (error,) = site.running[1].errors
    assert error == (
        "the machine's disk is nearly full: 900 MB are free where 1.0 GB are kept; of all that run"
        " this task took most, 4.0 GB"
    )
    await site.look(after=SETTLE_SEC / 2)
    assert [len(each.errors) for each in site.running] == [0, 1, 0]
    await site.look(after=SETTLE_SEC)
    assert [len(each.errors) for each in site.running] == [0, 1, 1]

    site.disk.free = 2 * GB
    await site.look()
    assert [site.room.is_short] == [False]
    await site.look(after=SETTLE_SEC)
    assert [len(each.errors) for each in site.running] == [0, 1, 1]


async def test_a_full_disk_without_executions_only_lets_nothing_begin() -> None:
    """There is nobody to end."""
    site = Site()
    site.disk.free = 0
    await site.look()
    assert site.room.is_short


async def test_what_is_over_is_forgotten() -> None:
    """The next attempt at the same task is measured anew."""
    site = Site(1)
    await site.look()
    site.running.clear()
    await site.look()
    site.running.append(Running(1))
    await site.look()
    assert site.disk.measured == [1, 1]


@pytest.mark.parametrize(
    ("free", "at", "due"),
    [(100, 1.0, False), (91, 1.0, False), (90, 1.0, True), (100, 31.0, True), (200, 1.0, False)],
)
def test_when_a_measure_is_due(free: int, at: float, *, due: bool) -> None:
    """When half of what was left has gone from the disk, or after a while."""
    filled = Filled(began=0, used=80, free=100, at=1.0)
    assert filling.is_due(filled, 100, free, at) is due
    assert filling.is_due(None, 100, free, at)


def test_a_measure_that_takes_long_is_not_made_all_the_time() -> None:
    """It rests ten times as long as it took, whatever the disk says."""
    slow = Filled(began=0, used=80, free=100, at=0.0, took_sec=4.0)
    assert not filling.is_due(slow, 100, 0, 39.9)
    assert filling.is_due(slow, 100, 0, 40.0)
