"""Archiving a test's log: here, or in a process that is killed on its way.

``python -m tests.support.archiving URL FOLDER N`` archives all it can, and kills itself with
SIGKILL when the archiver has reported its progress N times. It prints how often that was.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from pandar_daemon.adapters.archive.folder import FileArchive
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.postgres.archivable import archivable
from pandar_daemon.adapters.postgres.event_store import PgEventStore
from pandar_daemon.adapters.postgres.pool import pool
from pandar_daemon.services.archiver import Archiver, Done, Progress
from tests.support.log import Log, running

LATER = datetime(2999, 1, 1, tzinfo=UTC)
"""A time all events are older than."""


async def archive_all(
    url: str,
    folder: Path,
    *,
    before: datetime = LATER,
    progress: Progress = lambda _what, _done, _total: None,
) -> list[Done]:
    """Archive every range that is finished and older than a time."""
    async with archivable(url) as log:
        return await Archiver(log, FileArchive(folder), progress).run(before)


@asynccontextmanager
async def open_archived(url: str, folder: Path) -> AsyncIterator[Log]:
    """Yield a log whose old ranges are in a folder, its writer running."""
    async with pool(url, size=20) as database:
        store = PgEventStore(url, database, SystemClock(), archive=FileArchive(folder))
        async with running(store.run()):
            yield Log(database, store)


async def archive_until_killed(url: str, folder: Path, after: int) -> bool:
    """Archive in a process that dies after so many reports; tell whether it came to its end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.archiving", url, str(folder), str(after)),
        stdout=asyncio.subprocess.DEVNULL,
    )
    code = await process.wait()
    assert code in (0, -signal.SIGKILL)
    return code == 0


async def _main(url: str, folder: str, after: int) -> None:
    left = after

    def count(_what: str, _done: int, _total: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    await archive_all(url, Path(folder), progress=count)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
