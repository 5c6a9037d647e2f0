"""Commands that turn against their guardian: what they start must end all the same."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from pandar_daemon.adapters.process import host as adapter
from pandar_daemon.adapters.process.guarded import TerminalProcess
from pandar_daemon.adapters.process.host import Host
from tests.support.trees import output_of, running_in, spec_of, state_of
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


async def _begin(host: Host, cwd: Path, command: str) -> TerminalProcess:
    """Start a command that turns nasty once it is known to have started."""
    waiting = "until test -e go; do sleep 0.01; done; "
    process = await host.start(spec_of(waiting + command, cwd))
    (cwd / "go").touch()
    return process


async def test_a_stopped_guardian_still_kills(host: Host, cwd: Path) -> None:
    """A command that stopped its guardian is killed by it, once it is asked to."""
    process = await _begin(host, cwd, "kill -STOP $PPID; exec sleep 600")
    await until(lambda: state_of(process.pid) == "T")
    await process.kill()
    end = await process.wait()
    assert (end.exit_code, end.signal) == (None, signal.SIGTERM)
    assert running_in(cwd) == []


async def test_a_stopped_guardian_is_woken_by_a_renewal(host: Host, cwd: Path) -> None:
    """It is back at work as soon as its tree is allowed to run on."""
    process = await _begin(host, cwd, "kill -STOP $PPID; exec sleep 600")
    await until(lambda: state_of(process.pid) == "T")
    await process.allow_until(0.0)
    await until(lambda: [state_of(pid) for pid in running_in(cwd)] == ["T"])
    await process.kill()
    await process.wait()


async def test_a_guardian_kept_from_its_work_is_killed(host: Host, cwd: Path) -> None:
    """One that is stopped again and again is killed after its time, and its tree with it."""
    process = await _begin(host, cwd, "while :; do kill -STOP $PPID; done")
    await until(lambda: state_of(process.pid) == "T")
    await process.kill()
    await process.wait()
    assert running_in(cwd) == []


async def test_who_holds_the_terminal_ends_with_a_killed_guardian(host: Host, cwd: Path) -> None:
    """Without a tag and in a session of its own, it is found by the terminal it holds."""
    escape = "setsid env -i sleep 600 & kill -9 $PPID; sleep 600"
    process = await _begin(host, cwd, escape)
    async with asyncio.timeout(30):
        await output_of(process)
        end = await process.wait()
    assert end.signal == signal.SIGKILL
    assert running_in(cwd) == []


async def test_a_terminal_is_never_taken_for_anothers(host: Host, cwd: Path) -> None:
    """A killed guardian costs its own tree and no other."""
    other = await host.start(spec_of("exec sleep 600", cwd))
    process = await _begin(host, cwd, "kill -9 $PPID; sleep 600")
    await process.wait()
    assert [state_of(pid) for pid in running_in(cwd)] == ["S"]
    os.kill(other.pid, 0)
    await other.kill()
    await other.wait()


async def test_a_guardian_that_never_says_that_it_started(
    host: Host, cwd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start fails in the end, and what was started is killed."""
    monkeypatch.setattr(adapter, "START_SEC", 0.5)
    starting = asyncio.create_task(host.start(spec_of("while :; do kill -STOP $PPID; done", cwd)))
    with suppress(TimeoutError):  # or it said so before it was stopped
        await (await starting).kill()
    await until(lambda: running_in(cwd) == [])
