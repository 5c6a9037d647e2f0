"""Commands that turn against their guardian: what they start must end all the same."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pandar_daemon.adapters.process.host import Host
from tests.support.trees import output_of, running_in, spec_of, state_of
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    """Return the folder trees run in."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    """Return a host that kills all it started when the test is over."""
    made = Host(tmp_path / "data", grace_sec=0.1)
    yield made
    await made.sweep()


async def test_a_stopped_guardian_still_kills(host: Host, cwd: Path) -> None:
    """A command that stopped its guardian is killed by it, once it is asked to."""
    process = await host.start(spec_of("kill -STOP $PPID; exec sleep 600", cwd))
    await until(lambda: state_of(process.pid) == "T")
    await process.kill()
    end = await process.wait()
    assert (end.exit_code, end.signal) == (None, signal.SIGTERM)
    assert running_in(cwd) == []


async def test_a_stopped_guardian_is_woken_by_a_renewal(host: Host, cwd: Path) -> None:
    """It is back at work as soon as its tree is allowed to run on."""
    process = await host.start(spec_of("kill -STOP $PPID; exec sleep 600", cwd))
    await until(lambda: state_of(process.pid) == "T")
    await process.allow_until(0.0)
    await until(lambda: [state_of(pid) for pid in running_in(cwd)] == ["T"])
    await process.kill()
    await process.wait()


async def test_a_guardian_kept_from_its_work_is_killed(host: Host, cwd: Path) -> None:
    """One that is stopped again and again is killed after its time, and its tree with it."""
    process = await host.start(spec_of("while :; do kill -STOP $PPID; done", cwd))
    await until(lambda: state_of(process.pid) == "T")
    await process.kill()
    await process.wait()
    assert running_in(cwd) == []


async def test_who_holds_the_terminal_ends_with_a_killed_guardian(host: Host, cwd: Path) -> None:
    """Without a tag and in a session of its own, it is found by the terminal it holds."""
    escape = "setsid env -i sleep 600 & sleep 0.2; kill -9 $PPID; sleep 600"
    process = await host.start(spec_of(escape, cwd))
    async with asyncio.timeout(30):
        await output_of(process)
        end = await process.wait()
    assert end.signal == signal.SIGKILL
    assert running_in(cwd) == []


async def test_a_terminal_is_never_taken_for_anothers(host: Host, cwd: Path) -> None:
    """A killed guardian costs its own tree and no other."""
    other = await host.start(spec_of("exec sleep 600", cwd))
    process = await host.start(spec_of("kill -9 $PPID; sleep 600", cwd))
    await process.wait()
    assert [state_of(pid) for pid in running_in(cwd)] == ["S"]
    os.kill(other.pid, 0)
    await other.kill()
    await other.wait()
