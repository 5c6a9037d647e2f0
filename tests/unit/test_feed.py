"""The feed: dense whatever the bus loses, repeats or delays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from events.envelope import Recorded
from events.task import StartRequested
from pandar_daemon.ports import EventStore, Head
from pandar_daemon.services import feed
from pandar_daemon.services.feed import Feed, LogWentBack
from tests.support.lives import Chronicle


class OpenLog(EventStore):
    """A log in memory that only reads."""

    def __init__(self) -> None:
        self.recorded: list[Recorded] = []
        self.reads: list[int] = []
        self.looks = 0
        self.end = 0

    async def read_all(self, *, after: int, limit: int) -> list[Recorded]:
        """Return what comes after a position, and note that it was asked."""
        self.reads.append(after)
        return self.recorded[after : after + limit]

    async def head(self) -> Head:
        """Return where it ends: after more than can be read, if a test says so."""
        self.looks += 1
        return Head(max(self.end, len(self.recorded)), 1)


class OpenBus:
    """A bus on which the test speaks."""

    def __init__(self) -> None:
        self._said: asyncio.Queue[Recorded | Exception] = asyncio.Queue()
        self.followers = 0

    def say(self, *said: Recorded | Exception) -> None:
        """Let the follower hear events, or the bus break."""
        for one in said:
            self._said.put_nowait(one)

    @asynccontextmanager
    async def follow(self) -> AsyncIterator[AsyncIterator[Recorded]]:
        """Yield what is said."""
        self.followers += 1
        try:
            yield self._hear()
        finally:
            self.followers -= 1

    async def _hear(self) -> AsyncIterator[Recorded]:
        while True:
            said = await self._said.get()
            if isinstance(said, Exception):
                raise said
            yield said


class Scene:
    """A log, a bus and a feed over both."""

    def __init__(self, *, poll_sec: float = 3600) -> None:
        self.log = OpenLog()  # type: ignore[abstract]
        self.bus = OpenBus()
        self.feed = Feed(self.bus, self.log, poll_sec=poll_sec)
        chronicle = Chronicle()
        self.events = [chronicle.add("task-1", StartRequested())[0] for _ in range(30)]

    def store(self, up_to: int) -> None:
        """Let the log have the events up to a position."""
        self.log.recorded = self.events[:up_to]

    async def read(self, count: int, *, after: int = 0, limit: int = 10) -> list[int]:
        """Return the positions of the next events, read from the feed."""
        positions: list[int] = []
        async with asyncio.timeout(10), aclosing(self.feed.batches(after, limit)) as batches:
            async for batch in batches:
                assert 1 <= len(batch) <= limit
                positions += [recorded.position for recorded in batch]
                if len(positions) >= count:
                    return positions
        return positions


async def test_what_is_in_the_log_already_comes_first() -> None:
    """A reader that starts behind reads the log until it has caught up."""
    scene = Scene()
    scene.store(25)
    assert await scene.read(25) == list(range(1, 26))


async def test_live_events_that_continue_are_taken_from_the_bus() -> None:
    """The log is asked once to find its end, then the bus suffices."""
    scene = Scene()
    scene.store(3)
    scene.bus.say(*scene.events[:6])
    assert await scene.read(6) == [1, 2, 3, 4, 5, 6]
    assert set(scene.log.reads) <= {0, 3}


async def test_a_gap_on_the_bus_is_filled_from_the_log() -> None:
    """An event the bus lost is read from the log, and nothing comes twice."""
    scene = Scene()
    scene.store(10)
    scene.bus.say(*scene.events[10:12], *scene.events[15:18])

    async def grow() -> None:
        while not scene.log.reads:  # noqa: ASYNC110 - the log was read once
            await asyncio.sleep(0)
        scene.store(18)

    async with asyncio.TaskGroup() as group:
        group.create_task(grow())
        assert await scene.read(18) == list(range(1, 19))


async def test_old_events_without_end_do_not_keep_the_reader_from_the_log() -> None:
    """A lost stream is filled from the first on: what is new meanwhile is read all the same."""
    scene = Scene(poll_sec=0.01)
    scene.store(5)

    async def repeat() -> None:
        while True:
            scene.bus.say(scene.events[0])
            await asyncio.sleep(0)

    repeating = asyncio.create_task(repeat())
    async with asyncio.timeout(10), aclosing(scene.feed.batches(0, 6)) as batches:
        assert len(await anext(batches)) == 5
        scene.store(10)
        assert [each.position for each in await anext(batches)] == [6, 7, 8, 9, 10]
    repeating.cancel()


async def test_a_log_that_went_back_is_told() -> None:
    """Restored from a backup it ends before what was read: the reader does not wait in vain."""
    scene = Scene(poll_sec=0.01)
    scene.store(25)
    async with asyncio.timeout(10), aclosing(scene.feed.batches(0, 25)) as batches:
        assert len(await anext(batches)) == 25
        scene.store(20)
        with pytest.raises(LogWentBack, match="ends at 20, and was read up to 25"):
            await anext(batches)


async def test_repeated_and_old_live_events_are_dropped() -> None:
    """A bus that repeats itself does not make the feed do so."""
    scene = Scene()
    scene.bus.say(*scene.events[:3], *scene.events[:3], *scene.events[2:5])
    assert await scene.read(5) == [1, 2, 3, 4, 5]


async def test_a_silent_bus_is_made_up_for_by_the_poll() -> None:
    """With no bus at all the log is polled."""
    scene = Scene(poll_sec=0.01)

    async def grow() -> None:
        while scene.log.looks < 3:  # noqa: ASYNC110 - the log was polled
            await asyncio.sleep(0)
        scene.store(4)

    async with asyncio.TaskGroup() as group:
        group.create_task(grow())
        assert await scene.read(4) == [1, 2, 3, 4]


async def test_a_log_that_did_not_grow_is_not_read() -> None:
    """While nothing happens, its end is all that is asked for."""
    scene = Scene(poll_sec=0.001)
    scene.store(2)
    reading = asyncio.create_task(scene.read(3))
    while scene.log.looks < 5:  # noqa: ASYNC110 - the log was polled
        await asyncio.sleep(0)
    assert scene.log.reads == [0]
    scene.store(3)
    assert await reading == [1, 2, 3]


async def test_who_waits_beside_others_shares_their_looks() -> None:
    """Three readers with nothing to read ask as often where the log ends as one."""
    scene = Scene(poll_sec=0.01)
    scene.store(2)
    readers = [asyncio.create_task(scene.read(3)) for _ in range(3)]
    while scene.log.looks < 20:  # noqa: ASYNC110 - the log was polled
        await asyncio.sleep(0)
    (alone := Scene(poll_sec=0.01)).store(2)
    one = asyncio.create_task(alone.read(3))
    before = scene.log.looks
    while alone.log.looks < 20:  # noqa: ASYNC110 - the log was polled
        await asyncio.sleep(0)
    assert scene.log.looks - before < 2 * alone.log.looks
    scene.store(3)
    alone.store(3)
    assert await asyncio.gather(one, *readers) == [[1, 2, 3]] * 4


async def test_a_bus_that_breaks_is_followed_again() -> None:
    """After the bus failed, what it says next is heard."""
    scene = Scene(poll_sec=0.01)
    scene.log.end = 2
    scene.bus.say(scene.events[0], ConnectionError("gone"), scene.events[1])
    assert await scene.read(2) == [1, 2]


async def test_a_gap_the_log_cannot_fill_yet_is_not_jumped() -> None:
    """What lies beyond a hole waits until the hole is filled."""
    scene = Scene(poll_sec=0.01)
    scene.bus.say(scene.events[1])

    async def grow() -> None:
        while len(scene.log.reads) < 3:  # noqa: ASYNC110 - the hole was looked into
            await asyncio.sleep(0)
        scene.store(1)

    async with asyncio.TaskGroup() as group:
        group.create_task(grow())
        assert await scene.read(2) == [1, 2]


async def test_an_overflowing_inbox_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """When more comes than is kept, the log gives what was forgotten."""
    monkeypatch.setattr(feed, "INBOX_MAX", 4)
    scene = Scene()
    scene.bus.say(*scene.events)
    scene.store(30)
    assert await scene.read(30) == list(range(1, 31))


async def test_closing_stops_following() -> None:
    """A reader that leaves takes its subscription along."""
    scene = Scene()
    scene.store(1)
    await scene.read(1)
    assert scene.bus.followers == 0
