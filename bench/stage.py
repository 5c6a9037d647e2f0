"""A daemon of every role but the runner's, on servers of its own, for a crowd to come to."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
from msgspec import Struct

from bench import process
from bench.bus import Bus, bus
from bench.site import Site, site
from pandar_daemon.config import Settings
from pandar_daemon.wiring import mint_token
from tests.support.daemon import Program, free_port

MIB = 2**20
TOKEN_SEC = 3600.0
_DATABASE = "crowd"
_ENDS = ("completed", "failed", "cancelled", "execution_lost")
_ROLES = ("api", "commands", "relay", "projector", "scheduler", "reaper")


class Stage(Struct, frozen=True, kw_only=True):
    """The daemon's process and port, and what speaks to it; ``log`` is a superuser's session."""

    nats_url: str
    secret: Path
    pid: int
    port: int
    bus: Bus
    log: asyncpg.Connection

    def rss(self) -> float:
        """Return the MiB the daemon holds."""
        return process.usage(self.pid).own.rss / MIB

    def cpu_sec(self) -> float:
        """Return the processor time the daemon has used."""
        return process.usage(self.pid).own.cpu_sec

    def token(self, user: str, role: str) -> str:
        """Return a token of this installation."""
        return _token(self.secret, user, role)

    @asynccontextmanager
    async def ends(self) -> AsyncIterator[AsyncIterator[str]]:
        """Iterate over the ids of tasks whose execution ended, or was lost, from now on."""
        ids: asyncio.Queue[str] = asyncio.Queue()
        async with AsyncExitStack() as stack:
            for kind in _ENDS:
                some = await stack.enter_async_context(self.bus.events("task", kind))
                stack.callback(asyncio.create_task(_pass_on(some, ids)).cancel)
            yield _all(ids)

    async def head(self) -> int:
        """Return the position at which the log ends."""
        return int(await self.log.fetchval("SELECT position FROM log_head"))


async def _pass_on(some: AsyncIterator[str], ids: asyncio.Queue[str]) -> None:
    async for id_ in some:
        ids.put_nowait(id_)


async def _all(ids: asyncio.Queue[str]) -> AsyncIterator[str]:
    while True:
        yield await ids.get()


@asynccontextmanager
async def stage(data: Path) -> AsyncIterator[Stage]:
    """Start servers and daemon on data under a folder this makes; end them after."""
    secret, home = data / "jwt.secret", data / "daemon"
    _prepare(secret, home)
    async with (
        site(data / "servers") as servers,
        bus(servers.nats_url, _token(secret, "1", "admin")) as client,
        _serving(servers, secret, home) as (pid, port),
    ):
        log = await asyncpg.connect(servers.url(_DATABASE))
        try:
            yield Stage(
                nats_url=servers.nats_url, secret=secret, pid=pid, port=port, bus=client, log=log
            )
        finally:
            log.terminate()


@asynccontextmanager
async def _serving(servers: Site, secret: Path, home: Path) -> AsyncIterator[tuple[int, int]]:
    port = free_port()
    environment = {
        "PANDAR_DATABASE_URL": await servers.create(_DATABASE),
        "PANDAR_NATS_URL": servers.nats_url,
        "PANDAR_HTTP_PORT": str(port),
        "PANDAR_JWT_SECRET_FILE": str(secret),
        "PANDAR_SANDBOX": "none",  # all tasks wait for one file
    }
    roles = [part for role in _ROLES for part in ("--role", role)]
    program = await Program.start("serve", *roles, data=home, name="serve", extra=environment)
    try:
        await program.says("serve.ready")
        yield program.process.pid, port
        await program.stop()
    finally:
        await program.kill()


def _prepare(secret: Path, home: Path) -> None:
    home.mkdir(mode=0o700, parents=True)
    secret.write_text(secrets.token_hex(48))


def _token(secret: Path, user: str, role: str) -> str:
    settings = Settings(data=secret.parent, jwt_secret_file=str(secret))
    return mint_token(settings, user, [role], TOKEN_SEC)
