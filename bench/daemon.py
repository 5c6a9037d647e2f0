"""A real ``pandar up`` to be measured from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import msgspec
from msgspec import Struct

from bench.loading import session
from pandar_daemon.wiring.places import RUNNING, Place
from tests.support.daemon import Program, free_port

SLOTS = 16


class Daemon(Struct, frozen=True, kw_only=True):
    """A running Pandar: its process, its API, and a superuser's connection to its Postgres."""

    pid: int
    token: str
    place: Place
    http: aiohttp.ClientSession
    postgres: asyncpg.Connection

    async def create(self, name: str) -> str:
        """Make an empty database on its Postgres; return its URL."""
        await self.postgres.execute(f"CREATE DATABASE {name}")
        return f"{self.place.database_url.rpartition('/')[0]}/{name}"

    async def drop(self, name: str) -> None:
        """Remove a database."""
        await self.postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def daemon(data: Path, **environment: str) -> AsyncIterator[Daemon]:
    """Start a Pandar with 16 slots on data of its own, a folder it makes; end it after."""
    _make(data)
    port = free_port()
    extra = {
        "PANDAR_HTTP_PORT": str(port),
        "PANDAR_NATS_PORT": "0",
        "PANDAR_PG_PORT": "0",
        "PANDAR_SLOTS": str(SLOTS),
        "PANDAR_SANDBOX": "none",  # as those it is measured against, and as in runs of before
        **environment,
    }
    program = await Program.start("up", data=data, name="up", extra=extra)
    try:
        await program.says("^ready")
        place = msgspec.json.decode((data / RUNNING).read_bytes(), type=Place)
        token = (data / "token").read_text().strip()
        postgres = await asyncpg.connect(place.database_url)
        try:
            async with session(f"http://127.0.0.1:{port}", token) as http:
                yield Daemon(
                    pid=program.process.pid, token=token, place=place, http=http, postgres=postgres
                )
        finally:
            postgres.terminate()
        await program.stop()
    finally:
        await program.kill()


def _make(data: Path) -> None:
    data.mkdir(mode=0o700)
