"""A load of tasks whose commands leave a mark each time they run."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import msgspec

from events import commands as do
from events import subjects
from events.task import Json
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.nats.connection import NatsConnection
from pandar_daemon.adapters.nats.sender import NatsSender
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.services.asking import Asker

PAUSE_SEC = 0.05
PATIENCE_SEC = 120.0

_OVER = """
SELECT stream FROM (SELECT DISTINCT ON (stream) stream, type FROM events
                    WHERE stream = ANY ($1) ORDER BY stream, version DESC) last
WHERE type IN ('task.completed', 'task.failed', 'task.cancelled')
"""


@asynccontextmanager
async def asking(nats_url: str, token: str) -> AsyncIterator[Asker]:
    """Yield a client on the bus that speaks as the holder of a token."""
    connection = NatsConnection(nats_url, SystemClock(), "load")
    running = asyncio.create_task(connection.run())
    try:
        await connection.wait_up()
        yield Asker(NatsSender(connection), lambda: token)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def insist(asker: Asker, subject: str, body: bytes, command_id: str) -> do.Accepted:
    """Ask, again and again with the same command id, until there is an answer."""
    while True:
        try:
            return msgspec.json.decode(
                await asker.ask(subject, body, command_id, timeout_sec=5), type=do.Accepted
            )
        except Unavailable:
            await asyncio.sleep(PAUSE_SEC)  # what a careful client does between tries


async def file_task(
    asker: Asker, n: int, marks: Path | str, metadata: Json | None = None, command: str = "true"
) -> do.Accepted:
    """File a task that writes ``n/attempt`` to the marks, then does ``command``."""
    line = f"echo {n}/$PANDAR_ATTEMPT >> {marks}; {command}"
    create = do.CreateTask(name=f"load {n}", command=line, project_id=1, metadata=metadata or {})
    return await insist(
        asker, subjects.command("task.create", 1), msgspec.json.encode(create), f"load-{n}"
    )


def marks_of(path: Path) -> Counter[str]:
    """Return how often each attempt of each task ran."""
    return Counter(path.read_text().split()) if path.exists() else Counter()


async def all_over(database_url: str, streams: Sequence[str]) -> None:
    """Return once every task is in a terminal state, by the log."""
    connection = await asyncpg.connect(database_url)
    try:
        async with asyncio.timeout(PATIENCE_SEC):
            while len(await connection.fetch(_OVER, streams)) < len(streams):  # noqa: ASYNC110 - others work
                await asyncio.sleep(PAUSE_SEC)
    finally:
        await connection.close()
