"""The embedded servers: real processes, real signals, as root and as an ordinary user."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import signal
import socket
import stat
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import nats
import pytest
from nats.aio.client import Client

from pandar_daemon.adapters.embedded import ports
from pandar_daemon.adapters.embedded.binaries import postgres_bin
from pandar_daemon.adapters.embedded.data import DataDirectory
from pandar_daemon.adapters.embedded.errors import CannotStart
from pandar_daemon.adapters.embedded.servers import Servers
from pandar_daemon.config import Settings
from tests.support.processes import ended
from tests.support.servers import data_root

pytestmark = [pytest.mark.servers]

ROOT = os.geteuid() == 0
CUT_OFF = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg says when the end comes between two of its steps
)
ELSEWHERE = "nats://127.0.0.1:1"


@pytest.fixture
def data() -> Iterator[Path]:
    """Return a private, empty directory that other accounts could be let into."""
    path = Path(tempfile.mkdtemp(prefix="pandar-embedded-", dir=data_root()))
    yield path
    shutil.rmtree(path)


def settings(data: Path, **changes: object) -> Settings:
    """Return settings with any free port."""
    return Settings(data=data, **{"nats_port": 0, "pg_port": 0} | changes)  # type: ignore[arg-type]


def servers_of(settings: Settings, **environment: str) -> Servers:
    """Return servers that need not survive a power cut."""
    return Servers(settings, os.environ | environment, durable=False)


@asynccontextmanager
async def owner(data: Path) -> AsyncIterator[tuple[Process, dict[str, object]]]:
    """Run a process that owns servers on ``data``; yield it and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.owner", str(data)), stdout=PIPE
    )
    try:
        assert process.stdout is not None
        yield process, json.loads(await process.stdout.readline())
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def mode(path: Path) -> int:
    """Return who may do what."""
    return stat.S_IMODE(path.stat().st_mode)


def owner_of(path: Path) -> int:
    """Return the id of the user a file belongs to."""
    return path.stat().st_uid


def names(path: Path) -> list[str]:
    """Return what a directory holds."""
    return sorted(entry.name for entry in path.iterdir())


def text(path: Path) -> str:
    """Return what a file holds."""
    return path.read_text()


async def select_one(url: str) -> object:
    """Ask a database for 1."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval("SELECT 1")
    finally:
        await connection.close()


async def execute(url: str, statement: str) -> None:
    """Change something in a database."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


# --- starting ---


async def test_starts_both_and_stops_both(data: Path) -> None:
    """Both answer inside the block; after it their processes and ports are gone."""
    async with servers_of(settings(data)) as servers:
        assert await select_one(servers.database_url) == 1
        client = await nats.connect(servers.nats_url)
        assert (await client.jetstream().account_info()).limits.max_storage != 0
        await client.close()
    assert servers.postgres is not None
    assert servers.nats is not None
    assert servers.postgres.child is not None
    assert servers.nats.child is not None
    assert servers.postgres.child.exit_code == 0
    assert servers.nats.child.exit_code == 0


async def test_keeps_data_and_ports_between_runs(data: Path) -> None:
    """The second run is at the same addresses, with the tables of the first."""
    free = Settings(data=data)
    async with servers_of(free) as first:
        addresses = (first.database_url, first.nats_url)
        await execute(first.database_url, "CREATE TABLE kept (n int)")
    async with servers_of(free) as second:
        assert (second.database_url, second.nats_url) == addresses
        connection = await asyncpg.connect(second.database_url)
        assert await connection.fetchval("SELECT count(*) FROM kept") == 0
        await connection.close()


async def test_search_knows_letters_beyond_ascii(data: Path) -> None:
    """Trigrams and case folding work for every language, with the default collation."""
    async with servers_of(settings(data, nats_url=ELSEWHERE)) as servers:
        connection = await asyncpg.connect(servers.database_url)
        await connection.execute("CREATE EXTENSION pg_trgm")
        assert await connection.fetchval("SELECT similarity('ŻÓŁW', 'żółw')") == 1
        assert await connection.fetchval("SELECT 'ŻÓŁW' ILIKE '%żół%'") is True
        await connection.close()


async def test_a_first_start_that_was_cut_off_is_repeated(data: Path) -> None:
    """What a killed initdb left is no obstacle."""
    (data / "postgres.new").mkdir()
    (data / "postgres.new" / "PG_VERSION").write_text("18\n")
    async with servers_of(settings(data, nats_url=ELSEWHERE)) as servers:
        assert await select_one(servers.database_url) == 1


async def test_nothing_is_open_to_other_users(data: Path) -> None:
    """Directories are 0700, files with secrets 0600, and no password is on a command line."""
    async with servers_of(settings(data)) as servers:
        assert servers.postgres is not None
        assert servers.postgres.child is not None
        command = text(Path(f"/proc/{servers.postgres.child.pid}/cmdline"))
    assert text(data / "postgres.password") not in command
    assert mode(data) == 0o700
    assert {mode(data / name) for name in ("nats", "postgres", "run")} == {0o700}
    files = set(names(data)) - {"nats", "postgres", "run"}
    assert {mode(data / name) for name in files} == {0o600}


# --- what is not started ---


async def test_given_urls_are_used(data: Path) -> None:
    """With both URLs nothing is started and the data directory is left alone."""
    given = settings(data, database_url="postgresql://example/x", nats_url=ELSEWHERE)
    async with servers_of(given) as servers:
        assert servers.database_url == "postgresql://example/x"
        assert servers.nats_url == ELSEWHERE
        await servers.run()
    assert names(data) == []


async def test_each_url_counts_for_itself(data: Path) -> None:
    """With one URL only the other server is started."""
    async with servers_of(settings(data, nats_url=ELSEWHERE)) as servers:
        assert await select_one(servers.database_url) == 1
        assert servers.nats is None
    assert not (data / "nats.log").exists()


# --- refusals ---


async def test_refuses_a_second_owner(data: Path) -> None:
    """The directory of a running Pandar is refused, naming its process; the first one goes on."""
    async with owner(data) as (process, described):
        with pytest.raises(CannotStart, match=rf"already runs on {data} \(pid {process.pid}\)"):
            await servers_of(settings(data)).__aenter__()
        assert await select_one(str(described["database_url"])) == 1


@pytest.mark.parametrize("variable", ["PANDAR_PG_PORT", "PANDAR_NATS_PORT"])
async def test_refuses_a_taken_port(data: Path, variable: str) -> None:
    """A port that was asked for and is taken is named with its variable; nothing is left behind."""
    field = "pg_port" if variable == "PANDAR_PG_PORT" else "nats_port"
    with socket.create_server((ports.LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotStart, match=f"{variable}={port}: another program listens"):
            await servers_of(settings(data, **{field: port})).__aenter__()
    async with DataDirectory(data).owned():
        """No child holds the directory."""


async def test_one_that_cannot_start_stops_the_other(data: Path) -> None:
    """When nats-server cannot run, its log is quoted and Postgres does not stay behind."""
    with pytest.raises(CannotStart, match="nats ended with 1"):
        await servers_of(settings(data), PANDAR_NATS_BIN="/bin/false").__aenter__()
    async with DataDirectory(data).owned():
        """No child holds the directory."""


async def test_refuses_data_of_another_version(data: Path) -> None:
    """Data of another PostgreSQL is refused with both versions, and left unchanged."""
    cluster = data / "postgres"
    cluster.mkdir()
    (cluster / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(CannotStart, match=r"is of PostgreSQL 9, but .* is PostgreSQL 1\d"):
        await servers_of(settings(data, nats_url=ELSEWHERE)).__aenter__()
    assert names(cluster) == ["PG_VERSION"]


async def test_refuses_missing_programs(data: Path) -> None:
    """A path to programs that holds none is named with its variable."""
    with pytest.raises(CannotStart, match="PANDAR_PG_BIN=/nowhere holds no postgres"):
        await servers_of(settings(data), PANDAR_PG_BIN="/nowhere").__aenter__()


def test_does_not_close_what_is_not_ours(data: Path) -> None:
    """A directory that others may read and that holds other files is refused, not locked away."""
    (data / "letter.txt").touch()
    data.chmod(0o755)
    with pytest.raises(CannotStart, match="holds files that are not Pandar's"):
        DataDirectory(data)
    assert mode(data) == 0o755


async def test_secrets_are_made_once(data: Path) -> None:
    """Many at once get the same secret, of 48 random bytes."""
    directory = DataDirectory(data)
    tries = [asyncio.to_thread(directory.secret, "jwt.secret") for _ in range(8)]
    made = set(await asyncio.gather(*tries))
    assert [len(bytes.fromhex(secret)) for secret in made] == [48]
    assert names(data) == ["jwt.secret"]


def test_ports_are_chosen_in_order() -> None:
    """Unasked, the last port comes first, then the usual one, then any that is free."""
    with socket.create_server((ports.LOOPBACK, 0)) as taken:
        busy = taken.getsockname()[1]
        free = ports.choose("X", 0, None, busy)
        assert ports.choose("X", None, free, busy) == free
        assert ports.choose("X", None, busy, free) == free
        assert ports.choose("X", None, busy, busy) not in {0, busy}


# --- faults ---


@pytest.mark.fault
async def test_a_killed_owner_leaves_no_child(data: Path) -> None:
    """After SIGKILL the servers end by themselves, and the next start heals."""
    async with owner(data) as (process, described):
        pids = described["pids"]
        assert isinstance(pids, list)
        process.kill()
        for pid in pids:
            await ended(pid)
    async with servers_of(settings(data)) as servers:
        assert await select_one(servers.database_url) == 1


@pytest.mark.fault
async def test_the_next_owner_waits_for_what_a_killed_one_left(data: Path) -> None:
    """A start right after SIGKILL does not trip over servers that are still stopping."""
    async with owner(data) as (process, _):
        process.kill()
        await process.wait()
        async with servers_of(settings(data)) as servers:
            assert await select_one(servers.database_url) == 1


@pytest.mark.fault
async def test_killed_postgres_comes_back_with_every_commit(data: Path) -> None:
    """SIGKILL amid writes: it is back at the same address, and no acknowledged row is missing."""
    async with running(data) as servers:
        assert servers.postgres is not None
        assert servers.postgres.child is not None
        victim = servers.postgres.child
        await execute(servers.database_url, "CREATE TABLE acked (n int)")
        rows = Rows(servers.database_url)
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(rows.insert_until_cut_off())
            await rows.many_acked.wait()
            victim.send(signal.SIGKILL)
        assert await victim.wait() == -signal.SIGKILL
        await (await connected(servers.database_url)).close()
        connection = await asyncpg.connect(servers.database_url)
        stored = {row["n"] for row in await connection.fetch("SELECT n FROM acked")}
        await connection.close()
        assert rows.acked <= stored


@pytest.mark.fault
async def test_killed_nats_comes_back_with_every_message(data: Path) -> None:
    """SIGKILL amid publishing: no acknowledged message is missing from the stream."""
    async with running(data) as servers:
        assert servers.nats is not None
        assert servers.nats.child is not None
        victim = servers.nats.child
        client = await nats.connect(
            servers.nats_url, reconnect_time_wait=0.01, max_reconnect_attempts=-1, error_cb=ignore
        )
        jetstream = client.jetstream()
        await jetstream.add_stream(name="ACKED", subjects=["acked"])
        acked: list[int] = []
        async with asyncio.TaskGroup() as group:
            many_acked = asyncio.Event()
            group.create_task(publish_until_cut_off(client, acked, many_acked))
            await many_acked.wait()
            victim.send(signal.SIGKILL)
        assert await victim.wait() == -signal.SIGKILL
        await published(client, b"after")
        stored = await jetstream.get_last_msg("ACKED", "acked")
        assert stored.data == b"after"
        assert stored.seq is not None
        assert stored.seq > len(acked)
        assert await first_words(client, len(acked)) == acked
        await client.close()


@pytest.mark.fault
async def test_stops_a_server_that_hangs(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not react to the order to stop is ended by force."""
    monkeypatch.setattr("pandar_daemon.adapters.embedded.children.STOP_TIMEOUT_SEC", 0.05)
    async with servers_of(settings(data)) as servers:
        assert servers.nats is not None
        assert servers.nats.child is not None
        servers.nats.child.send(signal.SIGSTOP)
    assert servers.nats.child.exit_code == -signal.SIGKILL


@pytest.mark.skipif(not ROOT, reason="only root can become another account")
async def test_root_may_name_an_account(data: Path) -> None:
    """Without user namespaces root runs Postgres as an account that can reach the directory."""
    programs = postgres_bin(os.environ)
    if any(not parent.stat().st_mode & stat.S_IXOTH for parent in programs.parents):
        pytest.skip("nobody cannot reach the programs")
    for _ in range(2):
        given = settings(data, nats_url=ELSEWHERE)
        async with servers_of(given, PANDAR_PG_ACCOUNT="nobody") as servers:
            assert await select_one(servers.database_url) == 1
            assert owner_of(data / "postgres") != 0
            assert mode(data) == 0o711


@pytest.mark.skipif(not ROOT, reason="only root needs an account")
async def test_refuses_an_unknown_account(data: Path) -> None:
    """An account that does not exist is named with its variable."""
    with pytest.raises(CannotStart, match="PANDAR_PG_ACCOUNT=nosuch: there is no such account"):
        await servers_of(settings(data), PANDAR_PG_ACCOUNT="nosuch").__aenter__()


@asynccontextmanager
async def running(data: Path) -> AsyncIterator[Servers]:
    """Run servers and what keeps them alive."""
    async with servers_of(settings(data)) as servers:
        keeper = asyncio.create_task(servers.run())
        try:
            yield servers
        finally:
            keeper.cancel()
            await asyncio.wait([keeper])


class Rows:
    """Rows inserted one by one; ``acked`` are those whose commit was acknowledged."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._numbers = itertools.count()
        self.acked: set[int] = set()
        self.many_acked = asyncio.Event()

    async def insert_until_cut_off(self) -> None:
        """Insert as fast as possible until the connection breaks."""
        connection = await asyncpg.connect(self._url)
        try:
            while True:
                await self._insert(connection)
        except CUT_OFF:
            connection.terminate()

    async def _insert(self, connection: asyncpg.Connection) -> None:
        number = next(self._numbers)
        await connection.execute("INSERT INTO acked VALUES ($1)", number)
        self.acked.add(number)
        if len(self.acked) >= 200:
            self.many_acked.set()


async def connected(url: str) -> asyncpg.Connection:
    """Return a connection once the database takes one."""
    while True:
        try:
            return await asyncpg.connect(url)
        except (OSError, asyncpg.PostgresError):
            await asyncio.sleep(0)


async def publish_until_cut_off(client: Client, acked: list[int], many: asyncio.Event) -> None:
    """Publish the numbers from 0 until one is not acknowledged; tell when there are many."""
    jetstream = client.jetstream()
    while True:
        try:
            await jetstream.publish("acked", str(len(acked)).encode(), timeout=0.5)
        except nats.errors.Error:
            return
        acked.append(len(acked))
        if len(acked) >= 200:
            many.set()


async def first_words(client: Client, count: int) -> list[int]:
    """Return the numbers in the first messages of the stream."""
    jetstream = client.jetstream()
    found = [await jetstream.get_msg("ACKED", seq) for seq in range(1, count + 1)]
    return [int(message.data or b"-1") for message in found]


async def published(client: Client, body: bytes) -> None:
    """Publish once the bus takes it."""
    while True:
        try:
            await client.jetstream().publish("acked", body, timeout=0.5)
        except nats.errors.Error:
            await asyncio.sleep(0)
        else:
            return


async def ignore(error: Exception) -> None:
    """Say nothing of a connection the test cut itself."""
