"""A load of tasks on a Pandar of several processes, and what must have become of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import asyncpg
from msgspec import Struct

from pandar_daemon.services.asking import Asker
from tests.support.daemon import Roles
from tests.support.load import all_over, file_task, marks_of
from tests.support.waiting import until

ROLES = ("commands", "relay", "projector", "runner", "scheduler", "reaper")
"""What a task needs."""
TASKS = 40
RETRY = {"max_retries": 3, "on_lost": "retry"}


class Load(Struct):
    """Tasks that ``owner`` files; each attempt leaves a mark where it runs."""

    roles: Roles
    owner: Asker
    database_url: str
    marks: Path
    streams: list[str] = []
    """Those of the tasks that were filed."""

    async def file(self, command: str = "sleep 0.05") -> None:
        """File all of it, eight at a time; return when each was answered."""
        gate = asyncio.Semaphore(8)

        async def one(n: int) -> str:
            async with gate:
                return (await file_task(self.owner, n, self.marks, RETRY, command)).stream

        self.streams = await asyncio.gather(*(one(n) for n in range(TASKS)))

    async def under_way(self, command: str = "sleep 0.05") -> asyncio.Task[None]:
        """Begin to file it; return when some of it has run, and most has not."""
        filing = asyncio.create_task(self.file(command))
        await until(lambda: len(marks_of(self.marks)) >= TASKS // 8)
        return filing

    async def over(self) -> None:
        """Return once every task is."""
        await all_over(self.database_url, self.streams)

    async def settled(self, streams: Sequence[str] = ()) -> None:
        """Wait until every task is over, these or what was filed, then check them.

        Each was stored once and ran each attempt once; `pandar verify` is clean.
        """
        streams = streams or self.streams
        assert len(set(streams)) == len(streams)
        await all_over(self.database_url, streams)
        self.ran_once()
        assert await self._counted() == (len(streams), len(streams))
        await self.verified()

    async def _counted(self) -> tuple[int, int]:
        """Return how many tasks were filed, and how many are completed."""
        connection = await asyncpg.connect(self.database_url)
        try:
            created = await connection.fetchval(_CREATED)
            completed = await connection.fetchval(_COMPLETED)
        finally:
            await connection.close()
        return created, completed

    def ran_once(self) -> None:
        """No attempt ran twice."""
        twice = {mark: n for mark, n in marks_of(self.marks).items() if n > 1}
        assert not twice, f"ran more than once: {twice}"

    async def verified(self) -> None:
        """Nothing is wrong with log, bus and read models."""
        code, printed = await self.roles.run("verify", "--json")
        assert code == 0, printed


_CREATED = "SELECT count(*) FROM events WHERE type = 'task.created'"
_COMPLETED = "SELECT count(DISTINCT stream) FROM events WHERE type = 'task.completed'"
