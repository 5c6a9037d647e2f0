"""The migration runner: numbered SQL files, each applied once, in order, by one process at a time.

``NNNN_pre_name.sql`` expands the schema so that old and new code both run on it,
``NNNN_post_name.sql`` removes what only old code needed. A file is one transaction together with
its row in ``schema_migrations``, so it leaves everything or nothing. A first line
``-- no-transaction`` is for the few statements Postgres runs only outside one (CREATE INDEX
CONCURRENTLY): such a file holds a single statement that may be repeated (IF NOT EXISTS).

There is no way back: what went wrong is put right by the next file.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import structlog
from msgspec import Struct

import migrations

log = structlog.get_logger(__name__)

RUNNING_TIMEOUT_SEC = 120.0
LOCK_TIMEOUT = "10s"  # of a statement that waits for a table in use; it then holds up others
_LOCK = 0x70616E646172
_TRY_LOCK = "SELECT pg_try_advisory_lock($1)"
_NAME = re.compile(r"(\d{4})_(pre|post)_[a-z0-9_]+\.sql")
_NO_TRANSACTION = "-- no-transaction"

_CREATE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    sha256     text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)"""
_INSERT = "INSERT INTO schema_migrations (version, name, sha256) VALUES ($1, $2, $3)"
_INVALID_INDEXES = """
SELECT string_agg(indexrelid::regclass::text, ', ' ORDER BY indexrelid)
FROM pg_index WHERE NOT indisvalid"""


class MigrationError(Exception):
    """The database was left as the last whole migration made it; the message says what to do."""


class Migration(Struct, frozen=True, kw_only=True):
    """One file; ``sha256`` is the same for Unix and DOS line ends."""

    version: int
    name: str
    sql: str
    sha256: str

    @property
    def expands(self) -> bool:
        """Tell whether it is a ``pre`` one, which code of the release before can live with."""
        return "_pre_" in self.name

    @property
    def in_transaction(self) -> bool:
        """Tell whether it is applied in a transaction."""
        return not self.sql.startswith(_NO_TRANSACTION)


async def migrate(url: str, folder: Path | None = None, *, pre_only: bool = False) -> list[str]:
    """Apply what is missing; return the names applied by this call.

    Any number of processes may call this at once: one works, the others wait up to 120 s and find
    it done. ``pre_only`` stops before the first ``post``, for the time old code still runs.
    Raises `MigrationError` before anything is changed when an applied file was edited or the
    database has one this release does not know, and when a file fails, which leaves nothing of it.
    """
    files = load(folder)
    async with _connection(url) as connection:
        await _lock(connection)
        await connection.execute(_CREATE)
        applied = await _applied(connection)
        _check(files, applied)
        missing = [file for file in files if file.version not in applied]
        if pre_only:
            missing = _until_post(missing)
        for file in missing:
            await _apply(connection, file)
            log.info("migration.applied", name=file.name)
    return [file.name for file in missing]


async def pending(url: str, folder: Path | None = None) -> list[str]:
    """Return the names of files that are not applied yet; changes nothing."""
    async with _connection(url) as connection:
        if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
            applied: Mapping[int, asyncpg.Record] = {}
        else:
            applied = await _applied(connection)
    return [file.name for file in load(folder) if file.version not in applied]


def load(folder: Path | None = None) -> list[Migration]:
    """Return the files of a folder (by default the ones Pandar ships), in order.

    Raises `MigrationError` for a name that breaks the pattern and for numbers that are not 1..n.
    """
    place = folder or Path(migrations.__file__).parent
    files = [_read(path) for path in sorted(place.glob("[0-9]*.sql"))]
    versions = [file.version for file in files]
    if versions != list(range(1, len(files) + 1)):
        msg = f"migrations must be numbered 1, 2, 3… without gap or repeat, found {versions}"
        raise MigrationError(msg)
    return files


def _read(path: Path) -> Migration:
    match = _NAME.fullmatch(path.name)
    if match is None:
        msg = f"{path.name} is not named like 0001_pre_what_it_does.sql (or _post_)"
        raise MigrationError(msg)
    sql = path.read_text("utf-8")  # universal newlines: DOS line ends are gone here
    sha256 = hashlib.sha256(sql.encode()).hexdigest()
    return Migration(version=int(match[1]), name=path.name, sql=sql, sha256=sha256)


def _until_post(files: Sequence[Migration]) -> list[Migration]:
    first = next((n for n, file in enumerate(files) if not file.expands), len(files))
    return list(files[:first])


def _check(files: Sequence[Migration], applied: Mapping[int, asyncpg.Record]) -> None:
    known = {file.version: file for file in files}
    unknown = [row["name"] for version, row in applied.items() if version not in known]
    if unknown:
        msg = (
            f"the database has {', '.join(unknown)}, which this release does not know: a newer"
            " Pandar ran on it. Run that release or a later one"
        )
        raise MigrationError(msg)
    for version, row in applied.items():
        if known[version].sha256 != row["sha256"]:
            msg = (
                f"{known[version].name} was changed after it was applied at"
                f" {row['applied_at']:%Y-%m-%d %H:%M} UTC: restore the file, and put the change"
                " into a new migration"
            )
            raise MigrationError(msg)


async def _apply(connection: asyncpg.Connection, file: Migration) -> None:
    try:
        if file.in_transaction:
            async with connection.transaction():
                await _execute(connection, file)
        else:
            await _execute(connection, file)
    except asyncpg.LockNotAvailableError as error:
        msg = f"{file.name} waited {LOCK_TIMEOUT} for a table in use: nothing of it was kept, retry"
        raise MigrationError(msg) from error
    except asyncpg.PostgresError as error:
        msg = f"{file.name} failed: {error}"
        raise MigrationError(msg) from error


async def _execute(connection: asyncpg.Connection, file: Migration) -> None:
    await connection.execute(file.sql)
    if not file.in_transaction:
        await _check_indexes(connection, file)
    await connection.execute(_INSERT, file.version, file.name, file.sha256)


async def _check_indexes(connection: asyncpg.Connection, file: Migration) -> None:
    """Refuse an index that an interrupted CREATE INDEX CONCURRENTLY left half made."""
    invalid = await connection.fetchval(_INVALID_INDEXES)
    if invalid:
        msg = f"{file.name}: an earlier try left {invalid} unusable: DROP INDEX it, and migrate"
        raise MigrationError(msg)


async def _applied(connection: asyncpg.Connection) -> dict[int, asyncpg.Record]:
    rows = await connection.fetch("SELECT * FROM schema_migrations ORDER BY version")
    return {row["version"]: row for row in rows}


@asynccontextmanager
async def _connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    settings = {"application_name": "pandar migrate", "lock_timeout": LOCK_TIMEOUT}
    connection = await asyncpg.connect(
        url, server_settings=settings | {"timezone": "UTC"}, timeout=10
    )
    try:
        yield connection
    finally:
        await connection.close()


async def _lock(connection: asyncpg.Connection) -> None:
    """Become the one migrator of this database until the connection ends.

    It tries again and again: a session blocked in ``pg_advisory_lock`` holds a snapshot, and the
    CREATE INDEX CONCURRENTLY of the session that has the lock would wait for that snapshot.
    """
    try:
        async with asyncio.timeout(RUNNING_TIMEOUT_SEC):
            while not await connection.fetchval(_TRY_LOCK, _LOCK):  # noqa: ASYNC110 - see above
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        msg = f"another migration has been running for {RUNNING_TIMEOUT_SEC:g} s: see what it does"
        raise MigrationError(msg) from error
