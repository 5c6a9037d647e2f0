"""The servers of `pandar up`: only those nobody gave a URL for, kept alive while we run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Protocol, Self

import structlog

from pandar_daemon.adapters.embedded.children import Child
from pandar_daemon.adapters.embedded.data import DataDirectory
from pandar_daemon.adapters.embedded.errors import CannotStart
from pandar_daemon.adapters.embedded.nats_server import NatsServer
from pandar_daemon.adapters.embedded.postgres import PostgresServer
from pandar_daemon.adapters.embedded.storage import Storage
from pandar_daemon.config import Settings
from pandar_daemon.domain.groups import leaves

log = structlog.get_logger(__name__)

FIRST_PAUSE_SEC = 0.1
LONGEST_PAUSE_SEC = 10.0
STEADY_SEC = 60.0


class Server(Protocol):
    """What is kept alive here."""

    name: str
    child: Child | None

    async def start(self) -> None:
        """Start it, or start it again on the same data and port."""
        ...

    async def stop(self) -> None:
        """Stop it in order."""
        ...


class Servers:
    """Postgres and NATS for the time of an ``async with``.

    Entering starts, both at once, what ``settings`` gives no URL for, and returns when they
    answer; it raises `CannotStart` and leaves nothing running when one cannot. The data directory
    is held meanwhile, unless both URLs are given. Leaving stops them: NATS first, then Postgres.
    Must be entered in a thread that stays: the servers end with it.
    """

    def __init__(
        self,
        settings: Settings,
        environment: Mapping[str, str] = os.environ,
        *,
        durable: bool = True,
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._durable = durable
        self._stack = AsyncExitStack()
        self.postgres: PostgresServer | None = None
        self.nats: NatsServer | None = None

    @property
    def database_url(self) -> str:
        """Return the URL of the database, ours or the one given."""
        return self.postgres.url if self.postgres else self._settings.database_url or ""

    @property
    def nats_url(self) -> str:
        """Return the URL of NATS, ours or the one given."""
        return self.nats.url if self.nats else self._settings.nats_url or ""

    @property
    def nats_reader_url(self) -> str:
        """Return the URL for programs of others, or the one given."""
        return self.nats.reader_url if self.nats else self._settings.nats_url or ""

    async def __aenter__(self) -> Self:
        if self._settings.database_url and self._settings.nats_url:
            return self
        async with AsyncExitStack() as stack:
            data = DataDirectory(self._settings.data)
            keep_fd = await stack.enter_async_context(data.owned())
            self._choose(data, keep_fd)
            stack.push_async_callback(self._stop)
            await self._start()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._stack.aclose()

    async def run(self) -> None:
        """Keep the servers alive until cancelled: one that ends is started again.

        It gets the same port and data, after a pause that doubles from 0.1 to 10 s while it
        cannot stay up. Returns at once when none is ours. Cancel it before leaving the block.
        """
        async with asyncio.TaskGroup() as group:
            for server in self._servers():
                group.create_task(_keep(server))

    async def watch(self, stalled: Callable[[], float], restarted: Callable[[], None]) -> None:
        """See to it that a nats-server of ours stores, until cancelled; see `Storage`.

        `run` must be running: it starts again what this stops.
        """
        if self.nats is not None:
            await Storage(self.nats, stalled, restarted).run()
        await asyncio.get_running_loop().create_future()

    def _choose(self, data: DataDirectory, keep_fd: int) -> None:
        if not self._settings.database_url:
            self.postgres = PostgresServer(
                data,
                self._environment,
                port=self._settings.pg_port,
                durable=self._durable,
                keep_fd=keep_fd,
            )
        if not self._settings.nats_url:
            self.nats = NatsServer(
                data,
                self._environment,
                port=self._settings.nats_port,
                durable=self._durable,
                keep_fd=keep_fd,
            )

    def _servers(self) -> list[Server]:
        mine: tuple[Server | None, ...] = (self.nats, self.postgres)
        return [server for server in mine if server is not None]

    async def _start(self) -> None:
        failure: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as group:
                for server in self._servers():
                    group.create_task(server.start())
        except* CannotStart as failures:
            failure = next(leaves(failures))
        if failure is not None:
            raise failure

    async def _stop(self) -> None:
        for server in self._servers():
            await server.stop()


async def _keep(server: Server) -> None:
    loop = asyncio.get_running_loop()
    pause_sec = FIRST_PAUSE_SEC
    while server.child is not None:
        since = loop.time()
        code = await server.child.wait()
        if loop.time() - since > STEADY_SEC:
            pause_sec = FIRST_PAUSE_SEC
        log.warning("server.ended", server=server.name, exit_code=code, restart_in_sec=pause_sec)
        await asyncio.sleep(pause_sec)
        pause_sec = min(2 * pause_sec, LONGEST_PAUSE_SEC)
        await _start_again(server)


async def _start_again(server: Server) -> None:
    try:
        await server.start()
    except (CannotStart, OSError) as error:
        log.error("server.not_restarted", server=server.name, reason=str(error))  # noqa: TRY400
    else:
        log.info("server.restarted", server=server.name)
