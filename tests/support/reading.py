"""A log, its read models, and who reads them, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec import Struct

from events import task as did
from events.ids import task_stream
from pandar_daemon.adapters.postgres.project_reads import PgProjectReads
from pandar_daemon.adapters.postgres.task_reads import PgTaskReads
from pandar_daemon.adapters.postgres.work_queue import PgWorkQueue
from pandar_daemon.ports import TaskFilter
from tests.support.clock import ManualClock
from tests.support.lives import execution
from tests.support.log import Log, open_log, project_all


class Scene(Struct):
    """A log and its readers."""

    log: Log
    clock: ManualClock
    tasks: PgTaskReads
    projects: PgProjectReads
    queue: PgWorkQueue
    position: int = 0

    async def add(self, task_id: int, *events: did.Event, project_id: int = 1) -> None:
        """Append to the stream of a task."""
        self.position = await self.log.add(task_stream(task_id), *events, project_id=project_id)

    async def project(self) -> None:
        """Bring the read models up to date."""
        await project_all(self.log, up_to=self.position)

    async def ids(self, **wanted: object) -> list[int]:
        """Return the ids of a page of tasks."""
        page = await self.tasks.page(TaskFilter(**wanted))  # type: ignore[arg-type]
        return [item["id"] for item in page.items]


@asynccontextmanager
async def scene(url: str) -> AsyncIterator[Scene]:
    """Yield a log with its readers."""
    async with open_log(url) as log:
        clock, database = ManualClock(), log.database
        yield Scene(
            log,
            clock,
            PgTaskReads(database, clock),
            PgProjectReads(database),
            PgWorkQueue(database, clock),
        )


def done(text: str) -> did.TaskCompleted:
    """Return a completion with this output."""
    return did.TaskCompleted(
        execution_id=execution(), exit_code=0, output_tail=text, duration_sec=2.0, output_bytes=9
    )
