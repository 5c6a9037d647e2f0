"""The migration runner against a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

import migrations
from pandar_daemon.adapters.postgres.migrate import MigrationError, load, migrate, pending
from pandar_daemon.adapters.postgres.schema import dump_schema
from tests.support.servers import TestServers

FILES = {
    "0001_pre_accounts.sql": "CREATE TABLE accounts (id bigint PRIMARY KEY, name text);",
    "0002_pre_names.sql": (
        "-- no-transaction\n"
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS accounts_name ON accounts (name);"
    ),
    "0003_post_nickname.sql": "ALTER TABLE accounts ADD nickname text;",
    "0004_pre_first.sql": "INSERT INTO accounts VALUES (1, 'first'); SELECT 1;",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with four migrations."""
    for name, sql in FILES.items():
        (tmp_path / name).write_text(sql)
    return tmp_path


@pytest.fixture
async def connection(empty_database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Return a connection to the database the test migrates."""
    opened = await asyncpg.connect(empty_database_url)
    yield opened
    await opened.close()


async def test_applies_all_in_order(
    empty_database_url: str, folder: Path, connection: asyncpg.Connection
) -> None:
    """Every file is applied once, in the order of its number."""
    assert await pending(empty_database_url, folder) == list(FILES)
    assert await migrate(empty_database_url, folder) == list(FILES)
    assert await pending(empty_database_url, folder) == []
    assert await migrate(empty_database_url, folder) == []
    assert await connection.fetchval("SELECT name FROM accounts") == "first"


async def test_pending_changes_nothing(
    empty_database_url: str, folder: Path, connection: asyncpg.Connection
) -> None:
    """Asking what is missing makes no table."""
    await pending(empty_database_url, folder)
    assert await connection.fetchval("SELECT to_regclass('schema_migrations')") is None


async def test_four_at_once(
    empty_database_url: str, folder: Path, connection: asyncpg.Connection
) -> None:
    """Four migrators at once apply each file once between them, concurrent index included."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(migrate(empty_database_url, folder)) for _ in range(4)]
    assert sorted(name for task in tasks for name in task.result()) == list(FILES)
    assert await connection.fetchval("SELECT count(*) FROM accounts") == 1


async def test_pre_only_stops_before_the_first_post(empty_database_url: str, folder: Path) -> None:
    """While old code runs only what it can live with is applied."""
    applied = await migrate(empty_database_url, folder, pre_only=True)
    assert applied == ["0001_pre_accounts.sql", "0002_pre_names.sql"]
    assert await migrate(empty_database_url, folder) == list(FILES)[2:]


async def test_refuses_an_edited_file(empty_database_url: str, folder: Path) -> None:
    """A file changed after it was applied is refused by name, and nothing newer is applied."""
    await migrate(empty_database_url, folder, pre_only=True)
    (folder / "0001_pre_accounts.sql").write_text("CREATE TABLE accounts (id text);")
    with pytest.raises(MigrationError, match=r"0001_pre_accounts\.sql was changed after"):
        await migrate(empty_database_url, folder)
    assert await pending(empty_database_url, folder) == list(FILES)[2:]


async def test_line_ends_are_not_an_edit(empty_database_url: str, folder: Path) -> None:
    """A checkout with DOS line ends is the same migration."""
    await migrate(empty_database_url, folder)
    file = folder / "0002_pre_names.sql"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert await migrate(empty_database_url, folder) == []


async def test_refuses_a_newer_database(empty_database_url: str, folder: Path) -> None:
    """A database that a newer release migrated is refused, naming what is not known here."""
    await migrate(empty_database_url, folder)
    (folder / "0004_pre_first.sql").unlink()
    with pytest.raises(MigrationError, match=r"has 0004_pre_first\.sql, which this release"):
        await migrate(empty_database_url, folder)


async def test_a_failing_file_leaves_nothing(
    empty_database_url: str, folder: Path, connection: asyncpg.Connection
) -> None:
    """What a file did before it failed is undone, what came before it stays, a retry goes on."""
    broken = folder / "0004_pre_first.sql"
    broken.write_text("CREATE TABLE half (id int); SELECT no_such_column;")
    with pytest.raises(MigrationError, match=r"0004_pre_first\.sql failed: .*no_such_column"):
        await migrate(empty_database_url, folder)
    assert await connection.fetchval("SELECT to_regclass('half')") is None
    broken.write_text("CREATE TABLE whole (id int);")
    assert await migrate(empty_database_url, folder) == ["0004_pre_first.sql"]


async def test_reports_a_half_made_index(
    empty_database_url: str, folder: Path, connection: asyncpg.Connection
) -> None:
    """An index that a failed concurrent build left unusable is named, not taken for made."""
    (folder / "0002_pre_names.sql").write_text(
        "-- no-transaction\n"
        "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS accounts_name ON accounts (name);"
    )
    (folder / "0001_pre_accounts.sql").write_text(
        "CREATE TABLE accounts (id bigint, name text);"
        "INSERT INTO accounts VALUES (1, 'same'), (2, 'same');"
    )
    with pytest.raises(MigrationError, match="could not create unique index"):
        await migrate(empty_database_url, folder)
    await connection.execute("DELETE FROM accounts")
    with pytest.raises(MigrationError, match="left accounts_name unusable: DROP INDEX"):
        await migrate(empty_database_url, folder)
    await connection.execute("DROP INDEX accounts_name")
    assert await migrate(empty_database_url, folder) == list(FILES)[1:]


@pytest.mark.parametrize("name", ["0005_add.sql", "5_pre_add.sql", "0005_pre_Add.sql"])
def test_refuses_a_bad_name(folder: Path, name: str) -> None:
    """A file whose name breaks the pattern is refused, not passed over."""
    (folder / name).touch()
    with pytest.raises(MigrationError, match=f"{name} is not named like"):
        load(folder)


@pytest.mark.parametrize("name", ["0006_pre_gap.sql", "0004_pre_repeat.sql"])
def test_refuses_gaps_and_repeats(folder: Path, name: str) -> None:
    """Two branches that took the same number are noticed before anything is applied."""
    (folder / name).touch()
    with pytest.raises(MigrationError, match="without gap or repeat"):
        load(folder)


async def test_schema_sql_is_the_sum_of_the_migrations(database_url: str) -> None:
    """The schema people read is what the migrations make; `make generate` writes it anew."""
    written = Path(migrations.__file__).with_name("schema.sql").read_text()
    assert await dump_schema(database_url) == written


async def test_the_dump_is_the_schema(
    servers: TestServers, database_url: str, empty_database_url: str
) -> None:
    """A database made from the dump has the same dump."""
    dump = await dump_schema(database_url)
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute(f"SET check_function_bodies = false; {dump}")
    await connection.close()
    assert await dump_schema(empty_database_url) == dump
