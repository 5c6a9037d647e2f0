"""Postgres is replaced by an older backup while everything runs: nobody pretends it did not happen.

The backup is a copy of the database, and putting it back cuts all connections, as it would be.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import asyncpg
import pytest
from msgspec import Struct

from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.http.health import AHEAD, DIVERGED
from pandar_daemon.config import Settings
from pandar_daemon.wiring.parts import tokens
from tests.support.api import Json, Person
from tests.support.chaos_collect import Site as Reader
from tests.support.chaos_collect import open_site
from tests.support.daemon import Roles, free_port
from tests.support.history import History, violations
from tests.support.servers import TestServers
from tests.support.up import eventually

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]

SUBSCRIBE = Path(__file__).parents[2] / "docs" / "howto" / "subscribe.md"
KEPT, LOST = 5, 4


async def backed_up(url: str, admin: str) -> str:
    """Copy a database, keeping everybody out meanwhile; return the copy's name."""
    name = url.rpartition("/")[2]
    connection = await asyncpg.connect(admin)
    try:
        await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await _end_all(connection, name)
        await connection.execute(f"CREATE DATABASE {name}_backup TEMPLATE {name}")
        await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    finally:
        await connection.close()
    return f"{name}_backup"


async def put_back(url: str, admin: str, backup: str) -> None:
    """Replace a database by its copy."""
    name = url.rpartition("/")[2]
    connection = await asyncpg.connect(admin)
    try:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.execute(f"ALTER DATABASE {backup} RENAME TO {name}")
        await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    finally:
        await connection.close()


async def _end_all(connection: asyncpg.Connection, name: str) -> None:
    ended = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = $1"
    await connection.fetch(ended, name)


class Site(Struct):
    """A daemon in three processes and a relay of its own, with somebody who uses it."""

    roles: Roles
    relay: Roles
    metrics_port: int
    owner: Person
    reader: Reader
    filed: int = 0

    async def file(self, count: int) -> list[int]:
        """File tasks and return their ids."""
        return [await self._file() for _ in range(count)]

    async def _file(self) -> int:
        self.filed += 1
        body = {"name": "t", "command": "true", "project_id": 1, "auto_start": False}
        headers = {"Idempotency-Key": f"filed-{self.filed}"}
        while True:
            reply, told = await self.owner.call("POST", "/tasks", json=body, headers=headers)
            if reply.status == 201:
                return int(told["id"])
            assert reply.status == 503, told

    async def readiness(self) -> tuple[int, Json]:
        """Return what /readyz answers."""
        session, url = self.owner.session, f"{self.owner.base_url}/readyz"
        async with session.get(url) as reply:
            return reply.status, await reply.json()

    async def is_reason(self, reason: str) -> bool:
        """Return whether /readyz names this reason."""
        status, told = await self.readiness()
        return status == 503 and reason in told["reasons"]

    async def is_measured(self, line: str) -> bool:
        """Return whether the relay's metrics have this line."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        async with self.owner.session.get(url) as reply:
            return line in (await reply.text()).splitlines()

    async def is_level(self) -> bool:
        """Return whether bus and read models are where the log is."""
        status, told = await self.readiness()
        return (status, told.get("bus_lag"), told.get("projection_lag")) == (200, 0, 0)

    async def tasks(self) -> set[int]:
        """Return the tasks the read models have."""
        reply, page = await self.owner.call("GET", "/tasks?limit=100")
        assert reply.status == 200, page
        return {item["id"] for item in page["items"]}


@pytest.fixture
async def site(
    servers: TestServers, database_url: str, nats_url: str, tmp_path: Path
) -> AsyncIterator[Site]:
    """Run what answers, reads and publishes, each in a process of its own."""
    port = free_port()
    roles = Roles(tmp_path, database_url, nats_url)
    relay = Roles(tmp_path, database_url, nats_url, PANDAR_METRICS_PORT=str(port))
    try:
        await roles.start("commands", "projector", "api")
        await relay.start("relay")
        token = tokens(Settings(data=tmp_path), SystemClock()).mint("1", ["admin"], 3600)
        base_url = f"http://127.0.0.1:{roles.http_port}"
        async with (
            aiohttp.ClientSession() as session,
            open_site(database_url, nats_url) as reader,
        ):
            made = Site(roles, relay, port, Person(session, base_url, token), reader)
            await eventually(made.is_level)
            yield made
    finally:
        await roles.stop()
        await relay.stop()


@asynccontextmanager
async def subscribed(nats_url: str, task: int, folder: Path) -> AsyncIterator[asyncio.StreamReader]:
    """Run the program of the page on subscribing; give what it prints."""
    (program,) = re.findall(r"(?ms)^```python\n(.*?)^```$", SUBSCRIBE.read_text())
    script = folder / "subscribe.py"
    await asyncio.to_thread(script.write_text, program)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(script), nats_url, str(task)),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.terminate()
        await process.wait()


async def next_event(output: asyncio.StreamReader) -> tuple[int, str]:
    """Return position and type of the next event a subscriber prints."""
    async with asyncio.timeout(60):
        told = json.loads(await output.readline())
    return told["position"], told["type"]


async def test_restored_while_everything_runs(
    site: Site, servers: TestServers, database_url: str, nats_url: str, tmp_path: Path
) -> None:
    """The relay stops and says so, streams break off, and one command begins a new epoch."""
    kept = await site.file(KEPT)
    await eventually(site.is_level)
    backup = await backed_up(database_url, servers.database_url)
    await eventually(site.is_level)
    async with subscribed(nats_url, kept[0], tmp_path) as output:
        created = await next_event(output)
        async with site.owner.stream("/events") as stream:
            lost = await site.file(LOST)
            seen = [await stream.next() for _ in lost]
            await eventually(site.is_level)
            published = await site.reader.bus()

            await put_back(database_url, servers.database_url, backup)
            with suppress(aiohttp.ClientPayloadError):
                await stream.end()
        await check_alarm(site, ahead=LOST)
        await check_reading(site, kept, seen[-1].id)
        new = await site.file(LOST + 1)
        await eventually(lambda: site.is_reason(DIVERGED))
        await eventually(lambda: site.is_measured("pandar_bus_diverged 1.0"))
        assert await site.reader.bus() == published, "something was published"
        await site.relay["relay"].says("relay.stream_differs_from_log")

        code, printed = await site.roles.run("epoch", "advance", "--yes", "--json")
        assert (code, json.loads(printed.splitlines()[-1])) == (0, {"epoch": 2})
        await eventually(site.is_level)
        await eventually(lambda: site.is_measured("pandar_bus_diverged 0.0"))
        assert await next_event(output) == created, "the subscriber did not begin anew"
    assert await site.tasks() == {*kept, *new}
    await check_all(site)


async def check_alarm(site: Site, *, ahead: int) -> None:
    """It is in the log, on /readyz and in the metrics, and commands are still answered."""
    await eventually(lambda: site.is_reason(AHEAD))
    said = json.loads(await site.relay["relay"].says("relay.stream_ahead_of_log"))
    assert (said["level"], said["stream"] - said["log"]) == ("error", ahead)
    await eventually(lambda: site.is_measured(f"pandar_bus_ahead_events {ahead}.0"))


async def check_reading(site: Site, kept: list[int], last_id: str) -> None:
    """Read models are as old as the log; a client cannot go on after what never happened."""
    assert await site.tasks() == {*kept}
    headers = {"Last-Event-ID": last_id}
    problem = await site.owner.refused("GET", "/events", 422, headers=headers)
    assert problem["errors"][0]["field"] == "Last-Event-ID"


async def check_all(site: Site) -> None:
    """Log, bus of the new epoch and read models agree."""
    _, models = await site.reader.models()
    history = History(events=await site.reader.events(), bus=await site.reader.bus(), models=models)
    assert violations(history) == []
    code, printed = await site.roles.run("verify", "--json")
    assert code == 0, printed
