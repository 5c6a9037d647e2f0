"""Looking at process trees from outside: who lives, who is stopped. Linux only."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.process.guarded import TerminalProcess
from pandar_daemon.adapters.process.host import Host
from pandar_daemon.ports import Exit, Spec
from tests.support.waiting import until

PATH = "/usr/local/bin:/usr/bin:/bin"

LEFTOVERS = """
sleep 600 &
setsid sleep 600 &
nohup sleep 600 >/dev/null 2>&1 &
(setsid sh -c 'sleep 600 & sleep 600' &) &
(trap '' TERM HUP; exec sleep 600) &
env -i setsid sleep 600 &
"""
"""Ways to leave processes behind; the last one has emptied its environment."""

LEFT = 8
"""So many live then at least, the shell that started them included."""


def spec_of(command: str, cwd: Path, **environment: str) -> Spec:
    """Return a spec of a shell command."""
    given = {"PATH": PATH, **environment}
    return Spec(
        execution_id=uuid4(), argv=("/bin/sh", "-c", command), cwd=str(cwd), environment=given
    )


async def output_of(process: TerminalProcess) -> bytes:
    """Return all it shows."""
    return b"".join([data async for data in process.output()])


async def result_of(host: Host, spec: Spec) -> tuple[bytes, Exit]:
    """Run to the end; return what was shown and how it ended."""
    process = await host.start(spec)
    return await output_of(process), await process.wait()


async def hanging(host: Host, cwd: Path) -> TerminalProcess:
    """Start what exits with 7 once there is a file ``go``."""
    return await host.start(spec_of("until test -e go; do sleep 0.01; done; exit 7", cwd))


def status_of(pid: int) -> Mapping[str, str]:
    """Return ``/proc/PID/status``, empty when there is no such process."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def state_of(pid: int) -> str:
    """Return ``R``, ``S``, ``T``…, or an empty string when it is gone or a zombie."""
    state = status_of(pid).get("State", "")[:1]
    return "" if state in {"Z", "X"} else state


def is_frozen(pid: int) -> bool:
    """Return whether it runs no more: stopped, or waiting in the kernel to find itself stopped."""
    status = status_of(pid)
    pending = int(status.get("ShdPnd", "0"), 16) >> (signal.SIGSTOP - 1) & 1
    return status.get("State", "")[:1] == "T" or bool(pending)


def running_in(cwd: Path) -> list[int]:
    """Return the processes that work in a folder, which guardians do only to start one."""
    return [pid for pid in _pids() if _works_in(pid, cwd) and state_of(pid)]


def all_stopped(cwd: Path) -> bool:
    """Return whether a tree is there and no process of it runs."""
    there = running_in(cwd)
    return bool(there) and all(map(is_frozen, there))


def _works_in(pid: int, cwd: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == cwd
    except OSError:
        return False


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


async def main(data: Path, cwd: Path, leave_sec: float) -> None:
    """Be a runner with one tree, for tests that kill or stop it.

    It says so once all of the tree runs and may run for so long.
    """
    clock = SystemClock()
    host = Host(data)
    process = await host.start(spec_of(f"{LEFTOVERS} sleep 600", cwd))
    await until(lambda: len(running_in(cwd)) >= LEFT)
    await process.allow_until(clock.boottime() + leave_sec)
    print("allowed", flush=True)  # noqa: T201 - to whoever started it
    await output_of(process)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
