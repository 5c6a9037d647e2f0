"""Real commands that fill a real disk: they end, and what runs beside them goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from events.confinement import Confines, Limits
from events.running import Outcome
from events.task import FailureKind
from pandar_daemon.adapters.disk.folders import DataFolders
from pandar_daemon.adapters.nats.connection import NatsConnection
from pandar_daemon.services.room import Room
from pandar_daemon.services.runner import Runner
from pandar_daemon.telemetry import Metrics
from tests.contract.test_folders import private_mounts
from tests.support.daemon_script import DaemonScript
from tests.support.runners import CLOCK, bus, runner_on, running
from tests.support.waiting import until

pytestmark = pytest.mark.servers
__all__ = ["bus"]  # a fixture
FILL = "n=0; while :; do n=$((n+1)); head -c 1000000 /dev/zero > fill-$n; done"


@pytest.fixture
def daemon() -> DaemonScript:
    """Return a daemon that holds every lease."""
    return DaemonScript()


def runner_with_room(bus: NatsConnection, data: Path, reserve_bytes: int) -> Runner:
    """Return a runner that watches its disk, not yet running."""
    room = Room(
        folders=DataFolders(data),
        watched=lambda: runner.executions,
        reserve_bytes=reserve_bytes,
        clock=CLOCK,
        metrics=Metrics(),
    )
    runner = runner_on(bus, data, slots=2, has_room=lambda: not room.is_short, beside=(room.run,))
    return runner


async def test_a_loop_that_fills_the_disk_ends_and_its_neighbour_goes_on(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """It fails with the figures; the other task completes."""
    small = Confines(limits=Limits(disk_mb=16))
    filler = daemon.offer(FILL, confines=small)
    neighbour = daemon.offer("until test -e go; do read -t 0.05 < /dev/zero; done; echo fine")
    async with running(runner_with_room(bus, tmp_path, 0)):
        await until(lambda: filler in daemon.finished)
        (tmp_path / "workspaces" / "task-2" / "go").touch()
        await until(lambda: neighbour in daemon.finished)
    report = daemon.finished[filler]
    assert (report.outcome, report.kind) == (Outcome.FAILED, FailureKind.LIMIT)
    assert report.error.startswith("used ")
    assert report.error.endswith(" MB of 16 MB disk")
    assert daemon.finished[neighbour].outcome is Outcome.COMPLETED


ON_TMPFS = """
import asyncio, os, subprocess, sys
from pathlib import Path
from uuid import UUID
from events.running import Held
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.disk.folders import DataFolders
from pandar_daemon.services.room import Room
from pandar_daemon.telemetry import Metrics

data = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(data)], check=True)
MB = 2**20

class Filler:
    disk_bytes = 10**12

    def __init__(self, task_id, script):
        self.task_id, self.error = task_id, ""
        self.held = Held(task_id=task_id, execution_id=UUID(int=task_id), epoch=1)
        folder = data / "workspaces" / f"task-{task_id}"
        folder.mkdir(parents=True)
        self.process = subprocess.Popen(["/bin/sh", "-c", script], cwd=folder)

    async def overfill(self, error):
        self.process.kill()
        self.process.wait()
        self.error = error

slow = Filler(1, "echo a little > file; read never")
fast = Filler(2, "while :; do head -c 4096 /dev/zero >> fill; done")
folders = DataFolders(data)
room = Room(folders=folders, watched=lambda: [slow, fast], reserve_bytes=32 * MB,
            clock=SystemClock(), metrics=Metrics())

async def look():
    while not fast.error:
        await room.look()
    assert room.is_short
    assert folders.space().free > 0, "the database beside it never met a full disk"

asyncio.run(look())
slow.process.kill()
slow.process.wait()
print(repr(slow.error), fast.error)
"""


@pytest.mark.skipif(not private_mounts(), reason="needs a mount namespace of its own")
def test_some_of_a_small_disk_is_always_left(tmp_path: Path) -> None:
    """On a disk of 64 MB, 32 of them kept: who fills it ends, who does not goes on."""
    done = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", ON_TMPFS, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
    )
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith("'' the machine's disk is nearly full: ")
