"""Real servers for a test session, kept in a thread so that no test's event loop owns them."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

import asyncpg
import nats

from pandar_daemon.adapters.embedded.data import DataDirectory
from pandar_daemon.adapters.embedded.errors import CannotStart
from pandar_daemon.adapters.embedded.nats_server import NatsServer
from pandar_daemon.adapters.embedded.postgres import PostgresServer
from pandar_daemon.adapters.embedded.servers import Servers
from pandar_daemon.adapters.postgres.migrate import migrate
from pandar_daemon.config import Settings

T = TypeVar("T")
TEMPLATE = "pandar_template"
_PREFIX = "pandar-test-"
_START_TIMEOUT_SEC = 60.0
_LEFTOVER_AGE_SEC = 600.0


def data_root() -> Path:
    """Return where test data goes: memory where there is such a place, else the disk."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
    return memory if memory.is_dir() else Path(tempfile.gettempdir())


class TestServers:
    """Postgres and NATS on ports and data of their own.

    The coroutine methods are for any event loop; they kill, stop and start real processes. A
    server that a test left dead is started again before the next test that asks for it.
    """

    __test__ = False  # not a test, whatever its name says

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="servers", daemon=True)
        _remove_leftovers()
        self.data = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=data_root()))
        self._servers = Servers(Settings(data=self.data, nats_port=0, pg_port=0), durable=False)
        self._made = 0

    def open(self) -> None:
        """Start both servers and make the template every test's database is copied from."""
        self._thread.start()
        self._run(self._servers.__aenter__()).result(_START_TIMEOUT_SEC)
        self._run(self._make_template()).result(_START_TIMEOUT_SEC)

    def close(self) -> None:
        """Stop both servers and remove their data, and shared memory a killed Postgres left."""
        self._run(self._revive(self.postgres)).result(_START_TIMEOUT_SEC)  # which cleans it up
        self._run(self._servers.__aexit__()).result(_START_TIMEOUT_SEC)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        shutil.rmtree(self.data, ignore_errors=True)  # another session may be at it too

    # --- addresses ---

    @property
    def database_url(self) -> str:
        """Return the administrator's URL of the empty database ``pandar``."""
        return self._servers.database_url

    @property
    def nats_url(self) -> str:
        """Return the URL of NATS."""
        return self._servers.nats_url

    @property
    def postgres(self) -> PostgresServer:
        """Return the Postgres, for its process id."""
        assert self._servers.postgres is not None
        return self._servers.postgres

    @property
    def nats(self) -> NatsServer:
        """Return the nats-server, for its process id."""
        assert self._servers.nats is not None
        return self._servers.nats

    # --- databases and streams ---

    async def create_database(self, *, migrated: bool = True) -> str:
        """Return the URL of a fresh database."""
        await self.start_postgres()
        self._made += 1
        name = f"test_{self._made}"
        template = TEMPLATE if migrated else "template1"
        await self._administer(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self._url_of(name)

    async def drop_database(self, url: str) -> None:
        """Remove a database, whoever is still connected to it."""
        await self.start_postgres()
        await self._administer(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    async def delete_streams(self) -> None:
        """Leave JetStream empty."""
        await self.start_nats()
        client = await nats.connect(self.nats_url, allow_reconnect=False)
        try:
            jetstream = client.jetstream()
            for stream in await jetstream.streams_info():
                assert stream.config.name is not None
                await jetstream.delete_stream(stream.config.name)
        finally:
            await client.close()

    # --- faults ---

    async def kill_nats(self) -> None:
        """Kill nats-server with SIGKILL; returns when it is gone. It stays away until started."""
        await self._kill(self.nats)

    async def stop_nats(self) -> None:
        """Stop nats-server in order; it stays away until started."""
        await self._here(self.nats.stop())

    async def start_nats(self) -> None:
        """Start nats-server on its port and data, unless it runs."""
        await self._ensure(self.nats)

    async def restart_nats(self) -> None:
        """Stop nats-server in order and start it again."""
        await self.stop_nats()
        await self.start_nats()

    async def kill_postgres(self) -> None:
        """Kill Postgres with SIGKILL; returns when it is gone. It stays away until started."""
        await self._kill(self.postgres)

    async def stop_postgres(self) -> None:
        """Stop Postgres, cutting its connections; it stays away until started."""
        await self._here(self.postgres.stop())

    async def start_postgres(self) -> None:
        """Start Postgres on its port and data, unless it runs."""
        await self._ensure(self.postgres)

    async def restart_postgres(self) -> None:
        """Stop Postgres, cutting its connections, and start it again."""
        await self.stop_postgres()
        await self.start_postgres()

    async def _kill(self, server: NatsServer | PostgresServer) -> None:
        assert server.child is not None
        server.child.send(signal.SIGKILL)
        await self._here(server.child.wait())

    async def _ensure(self, server: NatsServer | PostgresServer) -> None:
        await self._here(self._revive(server))

    # --- inside ---

    def _run(self, coroutine: Coroutine[object, object, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _here(self, coroutine: Coroutine[object, object, T]) -> T:
        return await asyncio.wrap_future(self._run(coroutine))

    async def _revive(self, server: NatsServer | PostgresServer) -> None:
        if server.child is None or server.child.exit_code is not None:
            await _started(server)

    async def _make_template(self) -> None:
        await self._administer(f"CREATE DATABASE {TEMPLATE}")
        await migrate(self._url_of(TEMPLATE))

    async def _administer(self, statement: str) -> None:
        connection = await asyncpg.connect(self.database_url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def _url_of(self, database: str) -> str:
        return f"{self.database_url.rpartition('/')[0]}/{database}"


async def _started(server: NatsServer | PostgresServer) -> None:
    """Start a server; a killed Postgres may need more than one try until its children are gone."""
    while True:
        try:
            await server.start()
        except CannotStart as error:
            if "still in use" not in str(error) and "already exists" not in str(error):
                raise
        else:
            return


def _remove_leftovers() -> None:
    """Remove data of test sessions that were killed; their servers ended with them."""
    for path in data_root().glob(f"{_PREFIX}*"):
        try:
            # Young ones may be about to take their lock.
            if time.time() - (path / "owner.lock").stat().st_mtime > _LEFTOVER_AGE_SEC:
                DataDirectory(path).check_unowned()
                shutil.rmtree(path, ignore_errors=True)
        except (CannotStart, OSError):
            continue
