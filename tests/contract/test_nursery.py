"""The nursery: guardians are forked quickly, and nothing that befalls it befalls an execution."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from pandar_daemon.adapters.process import host as adapter
from pandar_daemon.adapters.process.guarded import TerminalProcess
from pandar_daemon.adapters.process.host import Host
from pandar_daemon.adapters.process.tree import Newcomers
from tests.support import trees
from tests.support.trees import (
    LEFT,
    hanging,
    result_of,
    running_in,
    spec_of,
    state_of,
    status_of,
)
from tests.support.waiting import PATIENCE_SEC, until

OPEN = "/proc/self/fd"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def parent_of(pid: int) -> int:
    """Return who started it."""
    return int(status_of(pid)["PPid"])


def nursery_of(process: TerminalProcess) -> int:
    """Return the nursery that forked its guardian."""
    return parent_of(process.pid)


async def test_what_a_killed_guardian_left_is_killed_without_the_runner(
    host: Host, cwd: Path
) -> None:
    """A child in a session of its own ends at once, though our loop does nothing meanwhile."""
    process = await host.start(
        spec_of("setsid sh -c 'echo $$ > pid; exec sleep 600' & sleep 600", cwd)
    )
    await until(lambda: (cwd / "pid").exists() and (cwd / "pid").read_text().strip())
    left = os.pidfd_open(int((cwd / "pid").read_text()))
    try:
        os.kill(process.pid, signal.SIGKILL)
        ended, _, _ = select.select([left], [], [], PATIENCE_SEC)
        assert ended, "it runs on"
    finally:
        os.close(left)
    await process.wait()


# --- it is replaced --------------------------------------------------------------------------


async def test_executions_outlive_a_killed_nursery(host: Host, cwd: Path) -> None:
    """They obey, end and are reported as ever; the next start has another nursery."""
    first, second = await hanging(host, cwd), await hanging(host, cwd)
    nursery = nursery_of(first)
    assert nursery_of(second) == nursery
    os.kill(nursery, signal.SIGKILL)
    await until(lambda: not state_of(nursery))
    third = await hanging(host, cwd)
    assert nursery_of(third) not in {nursery, parent_of(first.pid)}
    await first.kill()
    assert (await first.wait()).exit_code is None
    (cwd / "go").touch()
    assert [(await each.wait()).exit_code for each in (second, third)] == [7, 7]


async def test_a_stopped_nursery_is_woken(host: Host, cwd: Path) -> None:
    """A start does not wait for somebody to let it go on."""
    nursery = nursery_of(await hanging(host, cwd))
    os.kill(nursery, signal.SIGSTOP)
    await until(lambda: state_of(nursery) == "T")
    assert nursery_of(await hanging(host, cwd)) == nursery
    assert state_of(nursery) != "T"


async def test_a_nursery_that_is_kept_from_its_work_is_replaced(
    host: Host, cwd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that does not answer in time is killed, and another one asked."""
    monkeypatch.setattr(adapter, "BIRTH_SEC", 2.0)
    nursery = nursery_of(await hanging(host, cwd))
    stop = f"while kill -STOP {nursery}; do :; done 2>/dev/null"
    stopper = await asyncio.create_subprocess_exec("/bin/sh", "-c", stop)
    try:
        await until(lambda: state_of(nursery) == "T")
        ends = await asyncio.gather(*(result_of(host, spec_of("exit 3", cwd)) for _ in range(4)))
    finally:
        with suppress(ProcessLookupError):
            stopper.kill()
        await stopper.wait()
    assert [end.exit_code for _, end in ends] == [3] * 4


async def test_a_nursery_without_hope_is_an_error(
    host: Host, cwd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a second nursery does no better the start fails, naming what was not started."""
    monkeypatch.setattr(sys, "executable", "/bin/true")
    for _ in range(2):
        with pytest.raises(OSError, match=r"no guardian was born.*/bin/sh"):
            await host.start(spec_of("touch started", cwd))
    monkeypatch.undo()
    assert os.listdir(cwd) == []
    _, end = await result_of(host, spec_of("exit 3", cwd))
    assert end.exit_code == 3


@pytest.mark.fault
async def test_nurseries_killed_at_any_moment(
    host: Host, cwd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each start runs its command exactly once, or fails and has not run it; none waits."""
    monkeypatch.setattr(adapter, "BIRTH_SEC", 600.0)
    monkeypatch.setattr(adapter, "START_SEC", 600.0)
    seed = int(os.environ.get("PANDAR_SEED", random.SystemRandom().getrandbits(32)))
    print(f"PANDAR_SEED={seed}")  # noqa: T201 - to replay it
    chance = random.Random(seed)
    for number in range(25):
        await result_of(host, spec_of("true", cwd))
        assert host._nursery is not None
        nursery = host._nursery.pid
        starts = [
            asyncio.create_task(result_of(host, spec_of(f"echo {n} >> {number}", cwd)))
            for n in range(8)
        ]
        await asyncio.sleep(chance.random() * 0.03)
        os.kill(nursery, signal.SIGKILL)
        done = await asyncio.gather(*starts, return_exceptions=True)
        wrote = sorted(map(int, (cwd / str(number)).read_text().split()))
        refused = [n for n, each in enumerate(done) if isinstance(each, OSError)]
        assert sorted({*range(8)} - {*refused}) == wrote, done


# --- nothing is left -------------------------------------------------------------------------


@pytest.mark.fault
@pytest.mark.parametrize("before", [signal.SIGCONT, signal.SIGSTOP])
async def test_a_killed_runner_takes_its_nursery_along(
    tmp_path: Path, cwd: Path, before: signal.Signals
) -> None:
    """Nursery, guardian and tree end, the nursery even if it is stopped."""
    arguments = (trees.__name__, str(tmp_path / "data"), str(cwd), "600")
    runner = await asyncio.create_subprocess_exec(sys.executable, "-m", *arguments)
    try:
        await until(lambda: len(running_in(cwd)) >= LEFT)
        (guardian,) = {parent_of(pid) for pid in running_in(cwd)} - {*running_in(cwd)}
        nursery = parent_of(guardian)
        assert parent_of(nursery) == runner.pid
        os.kill(nursery, before)
    finally:
        runner.kill()
        await runner.wait()
    await until(lambda: not (state_of(nursery) or state_of(guardian) or running_in(cwd)))


async def test_a_host_nobody_holds_has_no_nursery(tmp_path: Path, cwd: Path) -> None:
    """It ends with the host, and leaves no zombie."""
    host: Host | None = Host(tmp_path / "data")
    assert host is not None
    process = await host.start(spec_of("sleep 600", cwd))
    nursery = nursery_of(process)
    await process.kill()
    await process.wait()
    host = None
    gc.collect()
    await until(lambda: not status_of(nursery))


async def test_no_zombie_is_left(host: Host, cwd: Path) -> None:
    """Nursery and guardian reap whom they started."""
    running = await hanging(host, cwd)
    nursery = nursery_of(running)
    for _ in range(5):
        await result_of(host, spec_of("sh -c 'sleep 0 &' & true", cwd))
    await until(lambda: trees_below(nursery) == {running.pid})


def trees_below(parent: int) -> set[int]:
    """Return its children, dead ones that were not reaped too."""
    return set(map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split()))


@pytest.mark.parametrize("forks", [0, 400])
async def test_who_has_the_tag_ends_with_it_whoever_began_it(
    host: Host, cwd: Path, forks: int
) -> None:
    """No descendant is left, but somebody else's program carries on: it is found by its tag."""
    spec = spec_of("until test -e go; do sleep 0.01; done", cwd)
    process = await host.start(spec)
    tag = {"PANDAR_EXECUTION_ID": str(spec.execution_id)}
    await result_of(host, spec_of(f"for n in $(seq {forks}); do /bin/true; done", cwd))
    other = await asyncio.create_subprocess_exec("sleep", "600", env=tag)
    (cwd / "go").touch()
    assert (await process.wait()).exit_code == 0
    assert await other.wait() == -signal.SIGKILL


async def test_numbers_that_came_round_are_no_hiding_place() -> None:
    """When process numbers may have begun anew, nobody says that there is no carrier."""
    younger = Newcomers()
    other = await asyncio.create_subprocess_exec("sleep", "600", env={"TAG": "it"})
    try:
        assert younger.tagged("TAG=it") == [other.pid]
        younger._last += 10_000
        assert younger.tagged("TAG=it") is None
        younger._last = other.pid
        younger._forks -= 10_000
        assert younger.tagged("TAG=it") is None
    finally:
        other.kill()
        await other.wait()
