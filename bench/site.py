"""Servers of the benchmark's own: durable, on data and ports nobody else uses."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from pandar_daemon.adapters.embedded.servers import Servers
from pandar_daemon.adapters.postgres.migrate import migrate
from pandar_daemon.config import Settings
from pandar_daemon.wiring.parts import Parts, parts
from pandar_daemon.wiring.places import Place

TEMPLATE = "bench_template"


class Site:
    """A Postgres and a nats-server; `admin` is a superuser's connection."""

    def __init__(self, settings: Settings, place: Place, admin: asyncpg.Connection) -> None:
        self._settings = settings
        self._place = place
        self.admin = admin

    @property
    def nats_url(self) -> str:
        """Return the URL of the bus."""
        return self._place.nats_url

    def url(self, name: str) -> str:
        """Return a superuser's URL of a database."""
        return f"{self._place.database_url.rpartition('/')[0]}/{name}"

    async def create(self, name: str) -> str:
        """Make a database with our schema; return its URL."""
        await self.admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        return self.url(name)

    async def drop(self, name: str) -> None:
        """Remove a database."""
        await self.admin.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @asynccontextmanager
    async def parts(self, name: str) -> AsyncIterator[Parts]:
        """Yield what services are made of, on a database that is there."""
        place = Place(database_url=self.url(name), nats_url=self._place.nats_url)
        async with parts(self._settings, place, "bench") as made:
            await made.connection.wait_up()
            yield made


@asynccontextmanager
async def site(data: Path, environment: Mapping[str, str] = os.environ) -> AsyncIterator[Site]:
    """Start both servers on data under ``data``; end them after."""
    settings = Settings(data=data, nats_port=0, pg_port=0)
    async with Servers(settings, environment) as servers:
        place = Place(database_url=servers.database_url, nats_url=servers.nats_url)
        admin = await asyncpg.connect(place.database_url)
        try:
            made = Site(settings, place, admin)
            await admin.execute(f"CREATE DATABASE {TEMPLATE}")
            await migrate(made.url(TEMPLATE))
            yield made
        finally:
            await admin.close()
