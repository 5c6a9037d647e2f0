"""A guardian used again: for whom, for whom never, and that nobody can tell the difference."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from pandar_daemon.adapters.process import cradle
from pandar_daemon.adapters.process import nursery as runners_side
from pandar_daemon.adapters.process.ends import Ends, open_ends
from pandar_daemon.adapters.process.host import Host
from pandar_daemon.adapters.process.kernel import BOOTTIME
from pandar_daemon.adapters.process.nursery import Nursery
from pandar_daemon.adapters.process.request import Request
from tests.support.trees import (
    PATH,
    all_stopped,
    hanging,
    output_of,
    result_of,
    running_in,
    spec_of,
    state_of,
    status_of,
)
from tests.support.waiting import until

# ruff: noqa: PTH115 - what matters is how many names there are

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


async def guardian_of(host: Host, cwd: Path, command: str = "true") -> int:
    """Run a command to its end; return the guardian it had, once that waits or is dead."""
    process = await host.start(spec_of(command, cwd))
    pid = process.pid
    await output_of(process)
    await process.wait()
    await until(lambda: name_of(pid) in {"pandar-idle", ""})
    return pid


def name_of(pid: int) -> str:
    """Return what a process is called; empty when it is gone, or a zombie."""
    return "" if state_of(pid) in {"", "Z"} else status_of(pid).get("Name", "")


# --- it is -----------------------------------------------------------------------------------


async def test_it_takes_the_next_execution(host: Host, cwd: Path) -> None:
    """One after another have one guardian; two at once have two."""
    first = await guardian_of(host, cwd)
    assert name_of(first) == "pandar-idle"
    running = await hanging(host, cwd)
    assert running.pid == first
    assert name_of(first) == "pandar-guardian"
    assert await guardian_of(host, cwd) != first
    (cwd / "go").touch()
    assert (await running.wait()).exit_code == 7


async def test_it_holds_nothing_of_the_one_before(host: Host, cwd: Path) -> None:
    """After a hundred executions it has as many descriptors as after one, and stands in ``/``."""
    first = await guardian_of(host, cwd)
    before = len(os.listdir(f"/proc/{first}/fd"))
    for _ in range(100):
        assert await guardian_of(host, cwd) == first
    assert len(os.listdir(f"/proc/{first}/fd")) == before
    assert os.readlink(f"/proc/{first}/cwd") == "/"


async def test_it_guards_like_a_new_one(host: Host, cwd: Path) -> None:
    """It still freezes at the deadline, thaws, and kills all it is answerable for."""
    first = await guardian_of(host, cwd)
    process = await host.start(spec_of("(sleep 600 & setsid sleep 600 &) ; sleep 600", cwd))
    assert process.pid == first
    await until(lambda: len(running_in(cwd)) == 4)
    await process.allow_until(0.0)
    await until(lambda: all_stopped(cwd))
    await process.allow_until(time.clock_gettime(BOOTTIME) + 600)
    await until(lambda: not all_stopped(cwd))
    await process.kill()
    assert (await process.wait()).exit_code is None
    assert running_in(cwd) == []


async def test_a_stopped_one_is_woken(host: Host, cwd: Path) -> None:
    """Somebody's leftover stopped it while it waited: the next start does not wait for that."""
    first = await guardian_of(host, cwd)
    os.kill(first, signal.SIGSTOP)
    await until(lambda: state_of(first) == "T")
    assert await guardian_of(host, cwd) == first


# --- it is not -------------------------------------------------------------------------------


async def test_not_after_it_had_to_kill(host: Host, cwd: Path) -> None:
    """Nor after it froze its tree, or could not start its command: those are not as they were."""
    killed = await hanging(host, cwd)
    await killed.kill()
    await killed.wait()
    frozen = await hanging(host, cwd)
    await frozen.allow_until(0.0)
    await until(lambda: all_stopped(cwd))
    await frozen.allow_until(time.clock_gettime(BOOTTIME) + 600)
    (cwd / "go").touch()
    assert (await frozen.wait()).exit_code == 7
    with pytest.raises(OSError, match="nowhere"):
        await host.start(spec_of("true", cwd / "nowhere"))
    await until(lambda: not any(map(name_of, (killed.pid, frozen.pid))))
    assert await guardian_of(host, cwd) not in {killed.pid, frozen.pid}


@pytest.mark.parametrize(
    "change",
    [
        "renice -n 5 -p $PPID >/dev/null",
        "prlimit --pid $PPID --core=0:0",
        "prlimit --pid $PPID --nofile=99:99",
        "taskset -p 1 $PPID >/dev/null",
        "echo 500 > /proc/$PPID/oom_score_adj",
    ],
)
async def test_not_when_its_command_changed_it(host: Host, cwd: Path, change: str) -> None:
    """What one execution did to its guardian's limits and priority, the next one never meets."""
    look = "nice; ulimit -a; taskset -p $$ | cut -d: -f2; cat /proc/self/oom_score_adj"
    usual, _ = await result_of(host, spec_of(look, cwd))
    changed = await guardian_of(host, cwd, change)
    assert name_of(changed) == ""
    after, _ = await result_of(host, spec_of(look, cwd))
    assert after == usual


async def test_not_before_its_runner_let_go(host: Host, cwd: Path) -> None:
    """A runner that was stopped meanwhile may still send it an order, or a signal."""
    await guardian_of(host, cwd)
    nursery = host._nursery
    assert nursery is not None
    first = await _begun(nursery, cwd)
    while await first.read_link():
        pass
    second = await _begun(nursery, cwd)
    assert second.pid != first.pid
    first.close()
    await until(lambda: name_of(first.pid) == "pandar-idle")
    third = await _begun(nursery, cwd)
    assert third.pid == first.pid
    second.close()
    third.close()


async def _begun(nursery: Nursery, cwd: Path) -> Ends:
    """Start ``true`` as a host does."""
    ends, theirs = open_ends(40, 120)
    await nursery.bear(theirs)
    await ends.born()
    environment = {b"PATH": PATH.encode(), b"PANDAR_EXECUTION_ID": b"x"}
    request = Request([b"true"], environment, cwd=bytes(cwd), until=float("inf"), grace_sec=0.3)
    await ends.send(request.pack())
    await ends.started()
    return ends


async def test_not_after_it_was_killed(host: Host, cwd: Path) -> None:
    """The next start has another one, and does not notice."""
    for _ in range(20):
        first = await guardian_of(host, cwd)
        os.kill(first, signal.SIGKILL)
        output, end = await result_of(host, spec_of("echo again; exit 3", cwd))
        assert (output, end.exit_code) == (b"again\n", 3)


# --- it ends ---------------------------------------------------------------------------------


async def test_it_ends_after_a_rest(host: Host, cwd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing was started for a while none waits, and none is a zombie."""
    monkeypatch.setattr(runners_side, "REST_SEC", 0.2)
    waiting = await asyncio.gather(*(guardian_of(host, cwd) for _ in range(4)))
    await until(lambda: not any(status_of(pid) for pid in waiting))
    assert await guardian_of(host, cwd) not in waiting


async def test_it_ends_with_its_nursery(host: Host, cwd: Path) -> None:
    """Whether it waits, or works when that dies and would wait after."""
    busy = await hanging(host, cwd)
    idle = await guardian_of(host, cwd)
    assert host._nursery is not None
    os.kill(host._nursery.pid, signal.SIGKILL)
    await until(lambda: not name_of(idle))
    (cwd / "go").touch()
    assert (await busy.wait()).exit_code == 7
    await until(lambda: not name_of(busy.pid))


def test_of_very_many_not_all_have_a_cradle() -> None:
    """So the nursery's descriptors never run out."""
    cradles = cradle.Cradles()
    for number in range(1, cradle.CRADLES_MAX + 1):
        placed = cradles.place()
        assert placed is not None
        cradles.keep(number, *placed)
    assert cradles.place() is None
    cradles.discard(1)
    placed = cradles.place()
    assert placed is not None
    cradles.keep(1, *placed)
    for number in range(1, cradle.CRADLES_MAX + 1):
        cradles.discard(number)
