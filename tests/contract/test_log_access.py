"""The append is the only way into the log, for the code as for the database."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from pandar_daemon.adapters.postgres.pool import Database, pool
from tests.support.appending import item
from tests.support.log import open_log

ROOT = Path(__file__).parent.parent.parent
SEALED = ("events", "events_1", "streams", "archives", "log_head", "commands", "reservations")
_WRITES = re.compile(
    rf"(INSERT\s+INTO|UPDATE(\s+ONLY)?|DELETE\s+FROM|TRUNCATE|COPY)\s+(public\.)?({'|'.join(SEALED)})\b(\s+SET\s+\w+)?",
    re.IGNORECASE,
)
_ATTEMPTS = {
    "insert": "INSERT INTO {} SELECT * FROM {}",
    "update": "UPDATE {} SET {} = {}",
    "delete": "DELETE FROM {}",
    "truncate": "TRUNCATE {}",
    "drop": "DROP TABLE {}",
    "disable": "ALTER TABLE {} DISABLE TRIGGER ALL",
}
_COLUMN = {
    "events": "actor",
    "events_1": "actor",
    "streams": "version",
    "archives": "manifest",
    "log_head": "position",
    "commands": "answer",
    "reservations": "key",
}


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Database]:
    """Return a pool as the daemon has it, over a log with one event."""
    async with open_log(database_url) as log:
        await log.store.append(item())
    async with pool(database_url, size=1) as database:
        yield database


@pytest.mark.parametrize("table", SEALED)
@pytest.mark.parametrize("attempt", _ATTEMPTS)
async def test_the_daemon_cannot_write_the_log(app: Database, table: str, attempt: str) -> None:
    """The role the daemon acts as may not touch the tables of the log but by the append."""
    column = _COLUMN[table]
    names = (table, column, column) if attempt == "update" else (table, table)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await app.execute(_ATTEMPTS[attempt].format(*names))


async def test_a_connection_stays_what_it_is(app: Database) -> None:
    """A pooled connection acts as the daemon's role however often it was used."""
    for _ in range(3):
        async with app.acquire() as connection:
            await connection.execute("SET statement_timeout = 1000")
            assert await connection.fetchval("SELECT current_user") == "pandar_app"


async def test_leases_are_only_renewed(app: Database) -> None:
    """The daemon may prolong a lease, and neither make, move nor remove one."""
    for statement in (
        "INSERT INTO leases VALUES (1, gen_random_uuid(), 1, 'r', now())",
        "UPDATE leases SET epoch = 2",
        "UPDATE leases SET cancel = false",
        "DELETE FROM leases",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(statement)


def test_no_code_writes_the_log() -> None:
    """No statement of ours but the migrations' writes to a table of the log.

    One exception moves no position: going on in a new epoch after a restored backup.
    """
    folders = ("events", "projections", "pandar_daemon")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.*")]
    texts = [path.read_text("utf-8") for path in files if path.suffix in {".py", ".sql"}]
    assert len(texts) > 100
    found = [match[0] for text in texts for match in _WRITES.finditer(text)]
    assert found == ["UPDATE log_head SET epoch"]
