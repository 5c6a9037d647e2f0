"""Rebuilding reads the log once for models of different pace: none gets far ahead, none is lost."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence

import pytest

from events.envelope import Recorded
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.postgres.event_store import PgEventStore
from pandar_daemon.adapters.postgres.pool import Database
from pandar_daemon.adapters.postgres.views import PgViews
from pandar_daemon.ports import Checkpoint, Move
from pandar_daemon.services import projector as projectors
from pandar_daemon.services.feed import Feed
from pandar_daemon.services.projector import Projector
from pandar_daemon.services.rebuilding import AHEAD_MAX, COLLECT_EVERY
from projections.models import MODELS
from tests.support.lives import random_lives
from tests.support.log import Log, SilentBus, assert_folded, open_log
from tests.support.waiting import until

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers")]

BATCH = 5


class Halting(PgViews):
    """Views that take steps of one model only while they are let, or never."""

    def __init__(self, database: Database, model: str) -> None:
        super().__init__(database)
        self.model = model
        self.let = asyncio.Event()
        self.broken = False
        self.taken = 0

    async def apply(self, moves: Sequence[Move]) -> list[Checkpoint]:
        """Wait, or lose the connection, for that model; take what is of others."""
        if moves[0].at.model == self.model:
            if self.broken and self.taken == 2:
                raise ConnectionError("cut")
            self.taken += 1
            if not self.broken:
                await self.let.wait()
        return await super().apply(moves)


class Counting(PgEventStore):
    """A log that counts how often it is read on."""

    reads = 0

    async def read_all(self, *, after: int, limit: int) -> list[Recorded]:
        """Count, and read."""
        self.reads += 1
        return await super().read_all(after=after, limit=limit)


def projector_of(log: Log, views: PgViews) -> Projector:
    """Return a projector with views of a test's own."""
    return Projector(log.store, Feed(SilentBus(), log.store), views)


@pytest.mark.parametrize("slow", ["tasks", "outputs"])
async def test_a_slow_model_keeps_the_reader_near(
    database_url: str, slow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one model stands still, no more of the log is read than a few batches."""
    monkeypatch.setattr(projectors, "BATCH_MAX", BATCH)
    async with open_log(database_url) as log:
        last = await log.add_lives(random_lives(21, 20))
        log.store = store = Counting(database_url, log.database, SystemClock())
        views = Halting(log.database, slow)
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(projector_of(log, views).rebuild_all(MODELS))
            most = AHEAD_MAX + 3  # being taken, waiting, in the reader's hand, on its way
            await until(lambda: store.reads == most)
            for _ in range(100):
                await log.database.fetchval("SELECT 1")
            assert store.reads == most < last // BATCH
            views.let.set()
        await assert_folded(log)


async def test_a_model_that_fails_ends_the_rebuild(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What went wrong is raised, nothing goes on behind; the next rebuild takes up from there."""
    monkeypatch.setattr(projectors, "BATCH_MAX", BATCH)
    async with open_log(database_url) as log:
        await log.add_lives(random_lives(22, 20))
        views = Halting(log.database, "stats")
        views.broken = True
        before = asyncio.all_tasks()
        with pytest.raises(ConnectionError, match="cut"):
            await projector_of(log, views).rebuild_all(MODELS)
        assert asyncio.all_tasks() == before
        at = {one.model: one.position for one in await views.checkpoints()}
        assert at["stats"] == 2 * BATCH
        await projector_of(log, PgViews(log.database)).rebuild_all(MODELS)
        await assert_folded(log)


@pytest.mark.parametrize("broken", [False, True], ids=["done", "failed"])
async def test_the_collector_is_as_before_afterwards(
    database_url: str, broken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python looks for cycles seldom while rows are made, and as often as ever after."""
    monkeypatch.setattr(projectors, "BATCH_MAX", BATCH)
    before, during = gc.get_threshold(), set[int]()
    async with open_log(database_url) as log:
        await log.add_lives(random_lives(23, 10))
        views = Halting(log.database, "stats")
        views.broken = broken
        views.let.set()
        building = asyncio.gather(
            projector_of(log, views).rebuild_all(
                MODELS, lambda _model, _position: during.add(gc.get_threshold()[0])
            ),
            return_exceptions=True,
        )
        [outcome] = await building
        assert isinstance(outcome, ConnectionError) == broken
    assert during == {COLLECT_EVERY}
    assert gc.get_threshold() == before
