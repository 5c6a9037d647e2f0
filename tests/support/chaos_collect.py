"""Reading everything back after a campaign: the log, the bus, the read models, the output."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg

from events import codec
from events import task as did
from events.envelope import Recorded
from events.ids import id_of
from events.task import Status
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.nats.connection import NatsConnection, connect
from pandar_daemon.adapters.nats.events import NatsEventStream
from pandar_daemon.adapters.nats.outputs import NatsOutputs
from pandar_daemon.adapters.postgres.event_store import PgEventStore
from pandar_daemon.adapters.postgres.pool import pool
from pandar_daemon.adapters.postgres.views import PgViews
from pandar_daemon.domain.task_state import Task, evolve, initial
from pandar_daemon.ports import CheckpointLost, OutputKey
from projections.base import Rows
from projections.models import MODELS
from tests.support.chaos_tasks import Deed
from tests.support.history import ExecutionId

BATCH = 1_000
SETTLE_SEC = 90.0
LOOK_SEC = 0.1


class Site:
    """What there is to read of one Pandar."""

    def __init__(
        self, url: str, store: PgEventStore, views: PgViews, connection: NatsConnection
    ) -> None:
        self._url = url
        self._store = store
        self._views = views
        self._stream = NatsEventStream(connection)
        self._outputs = NatsOutputs(connection)
        self._tasks: dict[int, Task] = {}
        self._events: list[Recorded] = []

    async def events(self) -> list[Recorded]:
        """Return the whole log."""
        while True:
            after = self._events[-1].position if self._events else 0
            batch = await self._store.read_all(after=after, limit=BATCH)
            if not batch:
                return list(self._events)
            for each in batch:
                self._fold(each)
            self._events += batch

    def _fold(self, recorded: Recorded) -> None:
        event = codec.decode(recorded)
        if event is not None and recorded.type.startswith("task."):
            task = int(id_of(recorded.stream))
            self._tasks[task] = evolve(self._tasks.get(task, initial(task)), event)

    async def tasks(self) -> dict[int, Task]:
        """Return what the log says of every task."""
        await self.events()
        return self._tasks

    async def bus(self) -> list[Recorded]:
        """Return every event on the bus."""
        found: list[Recorded] = []
        epoch = (await self._store.head()).epoch
        while True:
            after = found[-1].position if found else 0
            batch = await self._stream.stored(epoch, after=after, limit=BATCH)
            if not batch:
                return found
            found += batch

    async def models(self) -> tuple[int, dict[str, dict[str, Rows]]]:
        """Return the rows of every read model, and the position of the one most behind."""
        served = {name: await self._views.rows(model) for name, model in MODELS.items()}
        least = min(position for position, _ in served.values())
        return least, {name: rows for name, (_, rows) in served.items()}

    async def receipts(self) -> dict[str, int]:
        """Return at which position each command is kept."""
        connection = await asyncpg.connect(self._url)
        try:
            rows = await connection.fetch("SELECT command_id, position FROM commands")
        finally:
            await connection.close()
        return {row["command_id"]: row["position"] for row in rows}

    async def outputs(self) -> dict[ExecutionId, bytes]:
        """Return what is stored of every execution's output."""
        stored: dict[ExecutionId, bytes] = {}
        for recorded in await self.events():
            event = codec.decode(recorded)
            if isinstance(event, did.TaskStarted):
                key = OutputKey(
                    project_id=recorded.project_id or 0,
                    task_id=int(id_of(recorded.stream)),
                    attempt=event.attempt,
                )
                chunks = [chunk.data async for chunk in self._outputs.read(key)]
                stored[event.execution_id] = b"".join(chunks)
        return stored

    async def expected(self, deeds: dict[int, Deed]) -> dict[ExecutionId, bytes]:
        """Return what every execution prints that comes to its end."""
        wanted: dict[ExecutionId, bytes] = {}
        for recorded in await self.events():
            event = codec.decode(recorded)
            deed = deeds.get(int(id_of(recorded.stream))) if event is not None else None
            if isinstance(event, did.TaskStarted) and deed is not None:
                wanted[event.execution_id] = deed.printed
        return wanted

    # --- waiting until there is nothing more to come ---

    async def unsettled(self, spools: Callable[[], object]) -> str:
        """Return what is still to come, in words; empty when that is nothing."""
        open_ = {n: t for n, t in (await self.tasks()).items() if t.status not in did.TERMINAL}
        if open_:
            return "tasks: " + ", ".join(f"{n} {t.status}" for n, t in open_.items())
        head = await self._store.head()
        at = await self._stream.position(head)
        if at != head.position:
            return f"bus: at {at} of {head.position}"
        try:
            least, _ = await self.models()
        except CheckpointLost as error:
            return f"models: {error}"
        if least != head.position:
            return f"models: at {least} of {head.position}"
        return f"spools: {left}" if (left := spools()) else ""

    async def waiting(self) -> list[int]:
        """Return the tasks that wait for somebody to decide."""
        tasks = (await self.tasks()).items()
        return [n for n, task in tasks if task.status is Status.WAITING_CONFIRMATION]

    async def paused(self) -> list[int]:
        """Return the tasks that are queued, not to begin before some time."""
        return [n for n, task in (await self.tasks()).items() if task.not_before is not None]


@asynccontextmanager
async def open_site(database_url: str, nats_url: str) -> AsyncIterator[Site]:
    """Yield what there is to read."""
    clock = SystemClock()
    async with pool(database_url) as database, connect(nats_url, clock, "reader") as connection:
        async with asyncio.timeout(30):
            await connection.wait_up()
        store = PgEventStore(database_url, database, clock)
        yield Site(database_url, store, PgViews(database), connection)
