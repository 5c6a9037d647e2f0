"""The disk is full: honest refusals, nothing lost, nothing half done; with room again all goes on.

A whole ``pandar up`` runs in a mount namespace where one of its directories is a small filesystem
in memory. Making one needs no root where the kernel grants user namespaces.
"""

from __future__ import annotations

import asyncio
import errno
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import pytest
from msgspec import Struct

from pandar_daemon.adapters.http.health import STORES_NOTHING
from tests.support.api import Person
from tests.support.daemon import Program, clean_environment
from tests.support.servers import data_root
from tests.support.up import Up, eventually, is_ready, row_of_ended
from tests.support.waiting import until

pytestmark = [pytest.mark.servers, pytest.mark.fault, pytest.mark.timeout(180)]

MOUNTING = 'mkdir -p "$1"; mount -t tmpfs -o size="$2",mode=700 tmpfs "$1"; shift 2'
"""Mounts and takes its two words off the command line; chained, what is left is executed."""

ROOM = "1g"


class SmallDisk(Up):
    """A Pandar with too small a filesystem: ``data`` shows what is on it from outside."""

    def __init__(self, place: Path, out: Path, mounts: list[tuple[Path, str]]) -> None:
        super().__init__(place)
        self._place, self._out, self._mounts = place, out, mounts

    async def start(self) -> None:
        """Start it in namespaces of its own; returns when it says that it is ready."""
        script = "set -e; " + "; ".join([MOUNTING] * len(self._mounts)) + '; exec "$@"'
        words = [word for path, size in self._mounts for word in (str(path), size)]
        with self._out.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *("unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", *words),
                *(sys.executable, "-m", "pandar_daemon", "up"),
                env=clean_environment(self._place, self._environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=file,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        self.program = Program(process, self._out)
        await self.program.says("^ready")
        self.data = Path(f"/proc/{process.pid}/root{self._place}")

    def fill(self, folder: str) -> None:
        """Leave no byte free on the filesystem a folder of the data is on."""
        with (self.data / folder / "filler").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def free(self, folder: str) -> None:
        """Give the room back."""
        (self.data / folder / "filler").unlink()


@asynccontextmanager
async def small_disk(tmp_path: Path, full: str) -> AsyncIterator[SmallDisk]:
    """Yield a Pandar whose ``nats`` store is small, or whose ``postgres`` and all else is."""
    place = Path(tempfile.mkdtemp(prefix="pandar-full-", dir=data_root()))
    mounts = {
        "nats": [(place / "nats", "64m")],
        "postgres": [(place, "300m"), (place / "nats", ROOM)],
        ".": [(place, "300m")],
    }
    running = SmallDisk(place, tmp_path / "up.out", mounts[full])
    try:
        await running.start()
        yield running
        assert await running.stop() == 0, running.program.printed
    finally:
        await running.program.kill()
        shutil.rmtree(place, ignore_errors=True)


class Filing(Struct):
    """Tasks filed under keys of their own, and what was answered."""

    owner: Person
    told: dict[str, int] = {}
    refused: set[str] = set()

    async def file(self, key: str) -> int:
        """File a task and return the status; anything but done and "not now" is a failure."""
        reply, body = await self.owner.call(
            "POST",
            "/tasks",
            json={"name": key, "command": "true", "project_id": 1, "auto_start": False},
            headers={"Idempotency-Key": key},
        )
        assert reply.status in {201, 503}, (reply.status, body)
        if reply.status == 201:
            assert self.told.setdefault(key, body["id"]) == body["id"]
            self.refused.discard(key)
        else:
            self.refused.add(key)
        return reply.status

    async def repeat_all(self) -> None:
        """Repeat every request: the refused until they are done, the others to hear the same."""
        for key in [*self.refused, *self.told]:
            await eventually(lambda key=key: self._is_done(key))  # type: ignore[misc]

    async def _is_done(self, key: str) -> bool:
        return await self.file(key) == 201


async def not_ready(owner: Person) -> list[str]:
    """Return why the daemon says that it cannot serve requests."""
    async with owner.session.get(f"{owner.base_url}/readyz") as reply:
        assert reply.status == 503
        return list((await reply.json())["reasons"])


async def check(running: SmallDisk, filing: Filing, tmp_path: Path) -> None:
    """Every task that was told of is there once, nothing else is; log, bus and models agree."""
    connection = await asyncpg.connect(running.database_url)
    try:
        rows = await connection.fetch("SELECT stream FROM events WHERE type = 'task.created'")
    finally:
        await connection.close()
    assert sorted(row["stream"] for row in rows) == sorted(
        f"task-{task}" for task in filing.told.values()
    )
    urls = {"PANDAR_DATABASE_URL": running.database_url, "PANDAR_NATS_URL": running.nats_url}
    verify = await Program.start("verify", "--json", data=tmp_path, name="verify", extra=urls)
    assert await verify.process.wait() == 0, verify.printed


async def test_a_full_disk_of_the_bus(tmp_path: Path) -> None:
    """Commands are answered from the log meanwhile; with room again the bus catches up by itself.

    nats-server alone would not: a stream that failed to write stays closed until a restart.
    """
    async with small_disk(tmp_path, "nats") as running, running.owner() as owner:
        filing = Filing(owner)
        assert await filing.file("before") == 201
        running.fill("nats")
        for n in range(20):
            assert await filing.file(f"full-{n}") == 201
        await until(lambda: "bus.stores_nothing" in running.log, patience_sec=60)
        assert STORES_NOTHING in await not_ready(owner)
        before = running.server("nats-server")
        running.free("nats")
        await until(lambda: running.server("nats-server") not in {None, before})
        await eventually(lambda: is_ready(owner))
        task = await owner.task(1, command="echo out", auto_start=True)
        filing.told["out"] = task
        assert (await row_of_ended(owner, task))["output"].split() == ["out"]
        await check(running, filing, tmp_path)


async def test_a_full_disk_of_the_database(tmp_path: Path) -> None:
    """What cannot be stored is refused; what was answered is there once there is room."""
    async with small_disk(tmp_path, "postgres") as running, running.owner() as owner:
        filing = Filing(owner)
        assert await filing.file("before") == 201
        running.fill("postgres")
        n = 0
        while not filing.refused:
            n += 1
            await filing.file(f"full-{n}")
        running.free("postgres")
        await filing.repeat_all()
        await eventually(lambda: is_ready(owner))
        await check(running, filing, tmp_path)


async def test_a_disk_full_for_all_while_postgres_wants_to_write_its_log(tmp_path: Path) -> None:
    """Postgres stops in a panic and cannot start; with room again both servers are back."""
    async with small_disk(tmp_path, ".") as running, running.owner() as owner:
        filing = Filing(owner)
        assert await filing.file("before") == 201
        running.fill(".")
        postgres = running.server("postgres")
        await _switch_logs(running, postgres)
        assert await filing.file("full") == 503
        running.free(".")
        await filing.repeat_all()
        await eventually(lambda: is_ready(owner))
        assert running.server("postgres") not in {None, postgres}
        await check(running, filing, tmp_path)


async def _switch_logs(running: SmallDisk, postgres: int | None) -> None:
    """Make Postgres begin segments of its log until it has none left and is gone."""
    while running.server("postgres") == postgres:
        try:
            connection = await asyncpg.connect(running.database_url, timeout=5)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            continue
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await connection.execute("SELECT pg_logical_emit_message(false, '', repeat('x', 9000))")
            await connection.execute("SELECT pg_switch_wal()")
        connection.terminate()
