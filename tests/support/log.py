"""A real log and real read models for tests."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager

from msgspec import Struct

from events.envelope import Recorded
from events.ids import task_stream
from events.task import Event
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.postgres.event_store import PgEventStore
from pandar_daemon.adapters.postgres.pool import Database, pool
from pandar_daemon.adapters.postgres.views import PgViews
from pandar_daemon.ports import Append, Appended
from pandar_daemon.services.feed import Feed
from pandar_daemon.services.projector import Projector
from projections.base import ReadModel, fold
from projections.compare import differences
from projections.models import MODELS


class SilentBus:
    """A `Live` whose bus is away: whoever reads must do with the log."""

    @asynccontextmanager
    async def follow(self) -> AsyncIterator[AsyncIterator[Recorded]]:
        """Yield an iterator over nothing that never ends."""
        yield _nothing()


async def _nothing() -> AsyncIterator[Recorded]:
    await asyncio.Event().wait()
    yield  # type: ignore[misc]  # makes it an iterator


class Log(Struct):
    """An event store over a fresh database, and what tests say to it."""

    database: Database
    store: PgEventStore
    versions: dict[str, int] = {}
    commands: int = 0

    async def add(self, stream: str, *events: Event, project_id: int | None = 1) -> int:
        """Append events to a stream; return the position of the last."""
        version = self.versions.get(stream, 0)
        self.commands += 1
        verdict = await self.store.append(
            Append(
                stream=stream,
                expected_version=version,
                events=events,
                command_id=f"{stream}-{self.commands}",
                request_sha256=hashlib.sha256(stream.encode()).digest(),
                answer=b"{}",
                actor="user:1",
                project_id=project_id,
                correlation_id="c",
            )
        )
        assert isinstance(verdict, Appended)
        self.versions[stream] = verdict.version
        return verdict.position

    async def add_lives(self, lives: Iterable[tuple[int, Event]]) -> int:
        """Append events of tasks in their order; every third task is of project 2."""
        position = 0
        for task_id, event in lives:
            project_id = 2 if task_id % 3 == 0 else 1
            position = await self.add(task_stream(task_id), event, project_id=project_id)
        return position

    def projector(self, **models: ReadModel) -> Projector:
        """Return a projector of these models (all of the release's by default), not running."""
        feed = Feed(SilentBus(), self.store, poll_sec=0.01)
        views = PgViews(self.database)
        return Projector(self.store, feed, views, models=models or MODELS, poll_sec=0.02)

    async def everything(self) -> list[Recorded]:
        """Return the whole log."""
        return await self.store.read_all(after=0, limit=1_000_000)


@asynccontextmanager
async def open_log(url: str) -> AsyncIterator[Log]:
    """Yield a log whose writer runs, over the database at ``url``."""
    async with pool(url, size=16) as database:  # three logs at once are within the server's 60
        store = PgEventStore(url, database, SystemClock())
        async with running(store.run()):
            yield Log(database, store)


@asynccontextmanager
async def running(
    *coroutines: Coroutine[object, object, object],
) -> AsyncIterator[list[asyncio.Task[object]]]:
    """Run coroutines beside the block; cancel them after it. What they raise, the block raises."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in coroutines]
        try:
            yield tasks
        finally:
            for task in tasks:
                task.cancel()


async def project_all(log: Log, *, up_to: int, **models: ReadModel) -> None:
    """Run a projector until every model is live and complete up to a position."""
    projector = log.projector(**models)
    async with asyncio.timeout(30), running(projector.run()):
        await projector.reached(up_to)


async def assert_folded(log: Log, *models: ReadModel) -> None:
    """Assert that what is served of each model is exactly what folding the log gives."""
    history = await log.everything()
    for model in models or tuple(MODELS.values()):
        position, rows = await PgViews(log.database).rows(model)
        expected = fold(model, history[:position])
        assert list(differences(expected, rows)) == []
        assert position == len(history)
