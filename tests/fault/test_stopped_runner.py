"""A runner stopped in the middle of it all, replaced, and woken when its leases are long over."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import asyncpg
import pytest

from events.commands import Accepted
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.config import Settings
from pandar_daemon.services.asking import Asker
from pandar_daemon.wiring.parts import tokens
from tests.support.daemon import Roles
from tests.support.load import all_over, asking, file_task, marks_of
from tests.support.servers import TestServers
from tests.support.trees import is_frozen, state_of
from tests.support.waiting import until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]

EXTRA = {"PANDAR_LEASE_TTL_SEC": "2"}
RETRY = {"max_retries": 2, "on_lost": "retry"}

WRITING = """
echo $$ >> {here}/pids
while [ ! -e {here}/go ]; do date +%s.%N >> {here}/wrote-$PANDAR_ATTEMPT; sleep 0.02; done
"""
ENDING = "until [ -e {here}/stopped ]; do sleep 0.02; done; echo $PANDAR_ATTEMPT >> {here}/ended"


@pytest.fixture
async def roles(
    servers: TestServers, database_url: str, nats_url: str, tmp_path: Path
) -> AsyncIterator[Roles]:
    """Run every role that a task needs, the first runner included."""
    running = Roles(tmp_path, database_url, nats_url, **EXTRA)
    await running.start("commands", "relay", "projector", "runner", "reaper")
    yield running
    running["runner"].process.send_signal(signal.SIGCONT)  # should the test have left it stopped
    await running.stop()


@pytest.fixture
async def second(
    roles: Roles, database_url: str, nats_url: str, tmp_path: Path
) -> AsyncIterator[Roles]:
    """Give a second runner, not yet started: elsewhere, with a token instead of the secret."""
    token = tokens(Settings(data=roles.data), SystemClock()).mint("second", ["runner"], 3600)
    data = tmp_path / "second"
    data.mkdir(mode=0o700)
    other = Roles(data, database_url, nats_url, **EXTRA, PANDAR_RUNNER_TOKEN=token)
    yield other
    await other.stop()


@pytest.fixture
async def owner(roles: Roles, nats_url: str) -> AsyncIterator[Asker]:
    """Ask as an administrator."""
    token = tokens(Settings(data=roles.data), SystemClock()).mint("1", ["admin"], 3600)
    async with asking(nats_url, token) as asker:
        yield asker


async def story_of(database_url: str, task: Accepted) -> list[tuple[str, datetime]]:
    """Return type and time of each event of a task."""
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch(
            "SELECT type, recorded_at FROM events WHERE stream = $1 ORDER BY version", task.stream
        )
    finally:
        await connection.close()
    return [(row["type"], row["recorded_at"]) for row in rows]


async def rejected(database_url: str, task: Accepted) -> int:
    """Return how many reports on a task were refused as stale, and kept."""
    connection = await asyncpg.connect(database_url)
    try:
        counted = "SELECT count(*) FROM rejected WHERE stream = $1"
        return int(await connection.fetchval(counted, task.stream))
    finally:
        await connection.close()


def check_leases(story: list[tuple[str, datetime]], first: list[float], later: list[float]) -> None:
    """The first attempt wrote before its lease was lost, the second after its own was given."""
    begun = [at.timestamp() for type_, at in story if type_ == "task.started"]
    (lost,) = [at.timestamp() for type_, at in story if type_ == "task.execution_lost"]
    assert len(begun) == 2
    assert begun[0] <= first[0] <= first[-1] < lost
    assert lost < begun[1] <= later[0]


def times_in(path: Path) -> list[float]:
    """Return the times a task wrote, in order."""
    return [float(line) for line in path.read_text().split()]


async def test_a_stopped_runner_changes_nothing_when_it_wakes(
    roles: Roles, second: Roles, owner: Asker, database_url: str, tmp_path: Path
) -> None:
    """Its tree stays frozen while another has the task, is killed on waking; its report is late."""
    marks, pids = tmp_path / "marks", tmp_path / "pids"
    writing = await file_task(owner, 0, marks, RETRY, WRITING.format(here=tmp_path))
    ending = await file_task(owner, 1, marks, RETRY, ENDING.format(here=tmp_path))
    await until(lambda: len(marks_of(marks)) == 2 and (tmp_path / "wrote-1").exists())
    runner = roles["runner"]

    runner.process.send_signal(signal.SIGSTOP)
    (tmp_path / "stopped").touch()  # what ends now cannot be reported
    await until((tmp_path / "ended").exists)
    frozen = int(pids.read_text())
    await until(lambda: is_frozen(frozen))

    await second.start("runner")
    await until((tmp_path / "wrote-2").exists)
    assert is_frozen(frozen)
    written = times_in(tmp_path / "wrote-1")
    runner.process.send_signal(signal.SIGCONT)
    await until(lambda: not state_of(frozen))
    for task in (writing, ending):
        said = await runner.says(rf'"task":{task.id},.*"execution\.(stale|discarded)"')
        assert await rejected(database_url, task) == ("execution.stale" in said)
    (tmp_path / "go").touch()
    await all_over(database_url, [writing.stream, ending.stream])

    assert times_in(tmp_path / "wrote-1") == written, "it wrote after it was woken"
    story = await story_of(database_url, writing)
    check_leases(story, written, times_in(tmp_path / "wrote-2"))
    assert marks_of(marks) == dict.fromkeys(("0/1", "0/2", "1/1", "1/2"), 1)
    assert (tmp_path / "ended").read_text().split() == ["1", "2"]
    for task in (writing, ending):
        types = [type_ for type_, _ in await story_of(database_url, task)]
        assert [type_ for type_ in types if type_ != "task.progressed"] == [
            "task.created",
            "task.start_requested",
            "task.started",
            "task.execution_lost",
            "task.retried",
            "task.started",
            "task.completed",
        ]
    code, printed = await roles.run("verify", "--json")
    assert code == 0, printed
