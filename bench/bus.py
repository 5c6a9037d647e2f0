"""A program on the bus: it files tasks as commands and hears of events as they happen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import msgspec
from msgspec import Struct

from bench.loading import TERMINAL, Load, Report
from events import commands as do
from events import subjects
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.nats.connection import NatsConnection
from pandar_daemon.adapters.nats.sender import NatsSender
from pandar_daemon.adapters.nats.wire import NatsWire
from pandar_daemon.services.asking import Asker

PATIENCE_SEC = 120.0


class Bus(Struct, frozen=True):
    """One connection, as the holder of a token."""

    asker: Asker
    wire: NatsWire

    async def ask(self, action: str, command: do.Command, key: str, *ids: int) -> do.Accepted:
        """Ask a command of a project, and of something in it; raises the `Refusal`."""
        body = msgspec.json.encode(command)
        answer = await self.asker.ask(
            subjects.command(action, *ids), body, key, timeout_sec=PATIENCE_SEC
        )
        return msgspec.json.decode(answer, type=do.Accepted)

    @asynccontextmanager
    async def events(self, category: str, name: str) -> AsyncIterator[AsyncIterator[str]]:
        """Iterate over the ids of what a kind of event happens to, from now on."""
        subject = f"{subjects.LIVE_EVENTS}.{category}.{name}.>"
        async with self.wire.subscribe(subject) as messages:
            yield (message.subject.rpartition(".")[2] async for message in messages)


@asynccontextmanager
async def bus(nats_url: str, token: str) -> AsyncIterator[Bus]:
    """Connect to the bus; leave it after."""
    connection = NatsConnection(nats_url, SystemClock(), "bench")
    running = asyncio.create_task(connection.run())
    try:
        await connection.wait_up()
        yield Bus(Asker(NatsSender(connection), lambda: token), NatsWire(connection))
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


class BusLoading:
    """One load on the bus, done once: workers each file a task and wait until they hear its end.

    It trusts what it hears, so it is for servers nobody disturbs. Raises ``TimeoutError`` when an
    end is not heard within the patience of the load.
    """

    def __init__(self, nats_url: str, token: str, load: Load) -> None:
        self._nats_url = nats_url
        self._token = token
        self._load = load
        self._numbers = iter(range(load.tasks))
        self._ends: dict[str, asyncio.Future[str]] = {}
        self._report = Report()

    async def run(self) -> Report:
        """File the tasks and return what became of them."""
        async with bus(self._nats_url, self._token) as client, AsyncExitStack() as stack:
            for status in TERMINAL:
                ids = await stack.enter_async_context(client.events("task", status))
                ears = asyncio.create_task(self._listen(ids, status))
                stack.callback(ears.cancel)
            began = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._load.in_flight, self._load.tasks)):
                    group.create_task(self._work(client))
            self._report.seconds = time.perf_counter() - began
        return self._report

    async def _listen(self, ids: AsyncIterator[str], status: str) -> None:
        async for id_ in ids:
            end = self._end_of(id_)
            if not end.done():
                end.set_result(status)

    def _end_of(self, id_: str) -> asyncio.Future[str]:
        return self._ends.setdefault(id_, asyncio.get_running_loop().create_future())

    async def _work(self, client: Bus) -> None:
        for number in self._numbers:
            began = time.perf_counter()
            id_ = await self._file(client, f"{self._load.name}-{number}")
            self._report.filing.add(time.perf_counter() - began)
            async with asyncio.timeout(self._load.patience_sec):
                self._report.ended[await self._end_of(id_)] += 1
            self._report.life.add(time.perf_counter() - began)
            del self._ends[id_]

    async def _file(self, client: Bus, key: str) -> str:
        load = self._load
        create = do.CreateTask(
            name=key, command=load.command, project_id=load.project_id, metadata=load.metadata
        )
        return str((await client.ask("task.create", create, key, load.project_id)).id)
