"""The servers all other tests stand on."""

from __future__ import annotations

import asyncpg
import nats

from tests.support.servers import TestServers


async def test_a_test_may_leave_a_mess(
    servers: TestServers, database_url: str, nats_url: str
) -> None:
    """Streams, open connections and killed servers do not reach the next test (see below)."""
    client = await nats.connect(nats_url)
    await client.jetstream().add_stream(name="LEFT", subjects=["left"])
    await client.close()
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE TABLE left_behind (n int)")
    await servers.kill_nats()
    await servers.kill_postgres()
    connection.terminate()


async def test_the_next_test_starts_clean(database_url: str, nats_url: str) -> None:
    """Both servers answer, there is no stream, and the database is as the migrations made it."""
    client = await nats.connect(nats_url)
    assert await client.jetstream().streams_info() == []
    await client.close()
    connection = await asyncpg.connect(database_url)
    assert await connection.fetchval("SELECT to_regclass('left_behind')") is None
    await connection.close()


async def test_restarts_keep_what_was_acknowledged(
    servers: TestServers, database_url: str, nats_url: str
) -> None:
    """A restart, in order or after SIGKILL, is at the same address with the same data."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE TABLE kept (n int)")
    client = await nats.connect(nats_url)
    await client.jetstream().add_stream(name="KEPT", subjects=["kept"])
    await client.close()
    await connection.close()
    await servers.kill_postgres()
    await servers.start_postgres()
    await servers.kill_nats()
    await servers.start_nats()
    await servers.restart_postgres()
    await servers.restart_nats()
    client = await nats.connect(servers.nats_url)
    assert (await client.jetstream().stream_info("KEPT")).config.name == "KEPT"
    await client.close()
    connection = await asyncpg.connect(database_url)
    assert await connection.fetchval("SELECT count(*) FROM kept") == 0
    await connection.close()
