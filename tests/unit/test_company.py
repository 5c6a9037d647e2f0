"""Commits wait for company while there is any to be had."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest

from pandar_daemon.adapters.postgres import company
from pandar_daemon.adapters.postgres.company import Company
from tests.support.clock import ManualClock


class Waits(asyncio.Event):
    """Counts who waits for it; ``guests`` come to the queue during each wait."""

    def __init__(self, queue: list[int], guests: int) -> None:
        super().__init__()
        self.count = 0
        self._queue = queue
        self._guests = guests

    async def wait(self) -> Literal[True]:
        """Let the guests in, then wait in vain."""
        self.count += 1
        self._queue.extend([0] * self._guests)
        return await super().wait()


async def waits(commits: int, guests: int) -> int:
    """Return how many of so many commits, each right after the other, waited."""
    queue = [0]
    gathering = Company(ManualClock(), queue)
    gathering._enough = counted = Waits(queue, guests)
    for _ in range(commits):
        await gathering.gathered()
        queue[:] = [0]
    return counted.count


async def test_who_asks_alone_soon_waits_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """When nobody came during the waits they end, but for one in sixteen."""
    monkeypatch.setattr(company, "PACE_SEC", 0.000_1)
    assert await waits(112, guests=0) == 11 + (112 - 12) // 16


async def test_with_company_every_commit_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the first, which follows none."""
    monkeypatch.setattr(company, "PACE_SEC", 0.000_1)
    assert await waits(50, guests=1) == 49


async def test_company_is_noticed_when_it_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a lonely time a probe finds others, and soon every commit waits for them."""
    monkeypatch.setattr(company, "PACE_SEC", 0.000_1)
    queue = [0]
    gathering = Company(ManualClock(), queue)
    gathering._enough = Waits(queue, 0)
    for _ in range(40):
        await gathering.gathered()
    gathering._enough = counted = Waits(queue, 2)
    for _ in range(40):
        await gathering.gathered()
        queue[:] = [0]
    assert counted.count >= 20
