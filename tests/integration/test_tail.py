"""The shared end of the log: readers anywhere in it see every event once, in order."""

from __future__ import annotations

import asyncio

from events.ids import task_stream
from pandar_daemon.services.feed import Feed
from pandar_daemon.services.tail import Tail
from tests.support.lives import created
from tests.support.log import Log, SilentBus, open_log, running


def _tail(log: Log, *, kept: int = 4) -> Tail:
    return Tail(Feed(SilentBus(), log.store, poll_sec=0.01), log.store, kept=kept)


async def _add(log: Log, first: int, last: int) -> None:
    for number in range(first, last + 1):
        await log.add(task_stream(number), created(number))


async def test_readers_off_the_memory_read_the_log(database_url: str) -> None:
    """From any position on, what is kept and what is not join without a gap."""
    async with open_log(database_url) as log:
        tail = _tail(log)
        async with running(tail.run()):
            await _add(log, 1, 30)
            await tail.wait(29)
            for start in range(31):
                seen, position = [], start
                while batch := await tail.after(position, 7):
                    seen += [event.position for event in batch]
                    position = seen[-1]
                assert seen == list(range(start + 1, 31))


async def test_readers_wait_for_what_comes(database_url: str) -> None:
    """Many readers waiting at the end are all woken, and one far ahead is not."""
    async with open_log(database_url) as log:
        tail = _tail(log)
        async with running(tail.run()):
            await _add(log, 1, 1)
            await tail.wait(0)
            early = asyncio.create_task(tail.wait(5))
            waiting = [asyncio.create_task(tail.wait(1)) for _ in range(10)]
            await _add(log, 2, 2)
            await asyncio.gather(*waiting)
            assert not early.done()
            assert await tail.after(2, 10) == []
            early.cancel()


async def test_started_again_it_goes_on(database_url: str) -> None:
    """A tail whose reading was interrupted misses nothing of what happened meanwhile."""
    async with open_log(database_url) as log:
        tail = _tail(log, kept=100)
        await _add(log, 1, 2)
        async with running(tail.run()):
            await _add(log, 3, 5)
            await tail.wait(4)
        await _add(log, 6, 9)
        async with running(tail.run()):
            await tail.wait(8)
        found = await tail.after(5, 100)
        assert [event.position for event in found] == [6, 7, 8, 9]
