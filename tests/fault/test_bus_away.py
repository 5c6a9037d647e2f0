"""The bus is away for longer than a lease.

A task of a runner elsewhere is frozen, thawed, and never the wiser; who is in one process with who
answers commands needs no bus.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import msgspec
import pytest

from events import commands as do
from events import subjects
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.nats.outputs import NatsOutputs
from pandar_daemon.config import Settings
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import OutputKey
from pandar_daemon.services.asking import Asker
from pandar_daemon.wiring.parts import tokens
from tests.support.agent_tasks import PUSH, at_work
from tests.support.bus import connected
from tests.support.daemon import Roles
from tests.support.load import all_over, asking, file_task, marks_of
from tests.support.servers import TestServers
from tests.support.trees import is_frozen, state_of
from tests.support.up import Up, eventually, row_of_ended, up
from tests.support.waiting import until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]

LEASE_TTL_SEC = 4
"""More than the longest pause before a process looks for the bus again, which is 3 s."""

COUNTING = """
echo $$ > {pid}
n=0
while [ ! -e {go} ]; do n=$((n + 1)); echo "line $n"; echo $n >> {lines}; sleep 0.02; done
"""
_EXPIRED = "SELECT count(*) FROM leases WHERE expires_at < clock_timestamp()"
_ATTEMPTS = "SELECT count(*) FROM events WHERE stream = $1 AND type = 'task.started'"


@pytest.fixture
async def roles(
    servers: TestServers, database_url: str, nats_url: str, tmp_path: Path
) -> AsyncIterator[Roles]:
    """Run what a task needs as processes, the reaper who would call it lost included."""
    extra = {"PANDAR_LEASE_TTL_SEC": str(LEASE_TTL_SEC)}
    running = Roles(tmp_path, database_url, nats_url, **extra)
    await running.start("commands", "relay", "projector", "runner", "reaper")
    yield running
    await running.stop()


@pytest.fixture
async def owner(roles: Roles, nats_url: str) -> AsyncIterator[Asker]:
    """Ask as an administrator."""
    token = tokens(Settings(data=roles.data), SystemClock()).mint("1", ["admin"], 3600)
    async with asking(nats_url, token) as asker:
        yield asker


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Give a connection to the log."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def take_away(servers: TestServers, how: str) -> None:
    """Make the bus unreachable: gone, or there and silent."""
    if how == "killed":
        await servers.kill_nats()
    else:
        assert servers.nats.child is not None
        servers.nats.child.send(signal.SIGSTOP)


async def bring_back(servers: TestServers, how: str) -> None:
    """Let the bus answer again."""
    if how == "killed":
        await servers.start_nats()
    else:
        assert servers.nats.child is not None
        servers.nats.child.send(signal.SIGCONT)


async def output_of(nats_url: str, task: int) -> list[str]:
    """Return the lines the first attempt wrote, as they are stored."""
    key = OutputKey(project_id=1, task_id=task, attempt=1)
    async with connected(nats_url) as connection:
        chunks = [chunk.data async for chunk in NatsOutputs(connection).read(key)]
    return b"".join(chunks).decode().splitlines()


async def refused_meanwhile(owner: Asker) -> None:
    """Assert that a command is refused as one to be sent again."""
    body = msgspec.json.encode(do.CreateTask(name="t", command="true", project_id=1))
    with pytest.raises(Unavailable):
        await owner.ask(subjects.command("task.create", 1), body, "meanwhile", timeout_sec=0.5)


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_a_task_outlives_the_bus(
    servers: TestServers,
    roles: Roles,
    owner: Asker,
    database: asyncpg.Connection,
    database_url: str,
    nats_url: str,
    tmp_path: Path,
    how: str,
) -> None:
    """Frozen past its deadline, the same attempt goes on afterwards, and no line is missing."""
    pid_file, go, lines = tmp_path / "pid", tmp_path / "go", tmp_path / "lines"
    command = COUNTING.format(pid=pid_file, go=go, lines=lines)
    task = await file_task(owner, 0, tmp_path / "marks", {"on_lost": "fail"}, command)
    await until(lambda: len(marks_of(lines)) >= 20)
    pid = int(pid_file.read_text())

    await take_away(servers, how)
    await until(lambda: is_frozen(pid))
    await eventually(lambda: database.fetchval(_EXPIRED))
    await roles["reaper"].says("bus.lost|does not answer|reaper.lease_expired")
    written = len(marks_of(lines))
    await refused_meanwhile(owner)
    assert is_frozen(pid)
    assert len(marks_of(lines)) == written, "a frozen task wrote"

    await bring_back(servers, how)
    await until(lambda: len(marks_of(lines)) >= written + 20)
    assert state_of(pid)
    go.touch()
    async with asyncio.timeout(60):
        await all_over(database_url, [task.stream])
    assert await database.fetchval(_ATTEMPTS, task.stream) == 1
    assert marks_of(tmp_path / "marks") == {"0/1": 1}
    wanted = [f"line {n}" for n in range(1, len(marks_of(lines)) + 1)]
    assert await output_of(nats_url, int(task.id)) == wanted
    code, printed = await roles.run("verify", "--json")
    assert code == 0, printed


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_one_process_needs_no_bus(
    servers: TestServers, database_url: str, nats_url: str, how: str
) -> None:
    """What is filed runs, what is cancelled ends, what is approved is done; the bus hears later."""
    extra = {
        "PANDAR_DATABASE_URL": database_url,
        "PANDAR_NATS_URL": nats_url,
        "PANDAR_LEASE_TTL_SEC": str(LEASE_TTL_SEC),
        "PANDAR_SANDBOX": "none",
    }
    async with up(**extra) as pandar, pandar.owner() as person:
        go, begun = pandar.data / "go", pandar.data / "begun"
        waits = f"touch {begun}; while [ ! -e {go} ]; do sleep 0.02; done; echo done"
        runs = await person.task(1, command=waits, auto_start=True)
        await until(begun.exists)

        await take_away(servers, how)
        await until(lambda: "bus.lost" in pandar.log or "bus.silent" in pandar.log)
        filed = await person.task(1, command="true", auto_start=True)
        endless = await person.task(1, command="sleep 600", auto_start=True)
        await person.post(f"/tasks/{endless}/cancel")
        renewed = await person.task(1, command=f"sleep {2 * LEASE_TTL_SEC}", auto_start=True)
        ends = [(await row_of_ended(person, each))["status"] for each in (filed, endless, renewed)]
        assert ends == ["completed", "cancelled", "completed"]
        async with at_work(person, pandar.data, f"[[ask:{PUSH}]] [[say:done]]") as asking_task:
            await asking_task.asked()
            await asking_task.decide()
            await until(lambda: asking_task.pushed)
            go.touch()
            await bring_back(servers, how)
            await asking_task.end()
            assert len(asking_task.pushed) == 1
        assert (await row_of_ended(person, runs))["status"] == "completed"
        await eventually(lambda: _all_well(pandar))
        assert (await person.get(f"/tasks/{runs}/output"))["output"] == "done\n"


async def _all_well(pandar: Up) -> bool:
    return (await pandar.run("verify", "--json"))[0] == 0
