"""`pandar serve` and the schema it finds: older is refused, newer is fine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from tests.support.daemon import Program, Roles
from tests.support.servers import TestServers


@pytest.fixture
async def roles(
    servers: TestServers, database_url: str, nats_url: str, tmp_path: Path
) -> AsyncIterator[Roles]:
    """Give processes on the test's own database and bus; stop those that were started."""
    made = Roles(tmp_path, database_url, nats_url)
    yield made
    await made.stop()


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def test_old_code_runs_on_a_newer_schema(roles: Roles, database_url: str) -> None:
    """A migration of a later release does not keep the roles of this one from running."""
    await _execute(
        database_url,
        "INSERT INTO schema_migrations (version, name, sha256)"
        " VALUES (9999, 'pre_of_tomorrow', repeat('0', 64))",
    )
    await roles.start("commands", "projector")
    code, printed = await roles.run("migrate")
    assert code == 1
    assert "pre_of_tomorrow" in printed


async def test_older_schema_is_refused(
    empty_database_url: str, nats_url: str, tmp_path: Path
) -> None:
    """A role on a database that was never migrated says which command to run, and ends."""
    environment = {"PANDAR_DATABASE_URL": empty_database_url, "PANDAR_NATS_URL": nats_url}
    program = await Program.start(
        "serve", "--role", "relay", data=tmp_path, name="relay", extra=environment
    )
    assert await program.process.wait() == 2
    assert "pandar migrate" in program.printed


async def test_runner_needs_no_database(roles: Roles) -> None:
    """A runner is given the bus alone, and comes up."""
    await roles.start("runner")
    await roles["runner"].says("runner.up")


async def test_roles_end_in_order_on_sigterm(roles: Roles) -> None:
    """Every role, each a process, ends with code 0 and without an error in its log."""
    names = ("commands", "relay", "projector", "scheduler", "reaper", "api")
    await roles.start(*names)
    for name in names:
        assert await roles[name].stop() == 0
        assert '"level":"error"' not in roles[name].printed


async def test_roles_without_the_api_have_metrics(
    database_url: str, nats_url: str, tmp_path: Path
) -> None:
    """On a port of their own they tell that they live, and their numbers, and nothing else."""
    roles = Roles(tmp_path, database_url, nats_url, PANDAR_METRICS_PORT="0")
    try:
        await roles.start("relay")
        said = json.loads(await roles["relay"].says("metrics.listening"))
        async with aiohttp.ClientSession(f"http://127.0.0.1:{said['port']}") as session:
            async with session.get("/healthz") as reply:
                assert (reply.status, await reply.json()) == (200, {"status": "alive"})
            async with session.get("/metrics") as reply:
                assert (reply.status, reply.content_type) == (200, "text/plain")
                assert "pandar_relay_published_total" in await reply.text()
            async with session.get("/api/v1/tasks") as reply:
                assert (reply.status, reply.content_type) == (404, "application/problem+json")
                assert reply.headers["Server"] == "pandar"
        assert await roles["relay"].stop() == 0
    finally:
        await roles.stop()
