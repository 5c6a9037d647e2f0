"""On what it was measured."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

from bench.distribution import Distribution
from bench.peers import environment as peers
from pandar_daemon.adapters.embedded import binaries

_SYNCS = 50
_PAGE = b"\0" * 8192


def machine(data: Path) -> str:
    """Return a line about the processor, memory, system, and the disk under a folder."""
    sync = fsync_time(data)
    kernel = platform.release().partition("-")[0]
    return (
        f"{os.cpu_count()} x {_processor()}, {_memory_gib():.0f} GiB, {platform.system()}"
        f" {kernel}, {_filesystem(data)}, fdatasync p50 {sync.p50 * 1e3:.2g} ms,"
        f" load {os.getloadavg()[0]:.1f} at the beginning"
    )


def versions() -> str:
    """Return a line about the software."""
    ours = ("pandar-daemon", "asyncpg", "nats-py", "aiohttp")
    parts = [f"Python {platform.python_version()}", _postgres(), _nats()]
    theirs = [f"{name} {number}" for name, number in peers.versions().items()]
    own = [f"{name} {version(name)}" for name in ours]
    return ", ".join([*parts, *own, *theirs, _revision()])


def fsync_time(folder: Path) -> Distribution:
    """Return how long it takes here to make 8 KiB durable."""
    taken = Distribution()
    path = folder / "fsync"
    with path.open("wb") as file:
        for _ in range(_SYNCS):
            file.write(_PAGE)
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.add(time.perf_counter() - began)
    path.unlink()
    return taken


def _processor() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _filesystem(folder: Path) -> str:
    shown = _output("df", "--output=fstype", str(folder)).split()
    return shown[-1] if shown else "unknown file system"


def _postgres() -> str:
    shown = _output(str(binaries.postgres_bin(os.environ) / "postgres"), "--version")
    return f"PostgreSQL {shown.split()[-1]}"


def _nats() -> str:
    return _output(str(binaries.nats_server(os.environ)), "--version").replace(":", "")


def _revision() -> str:
    revision = _output("git", "rev-parse", "--short", "HEAD")
    changed = _output("git", "status", "--porcelain", "--untracked-files=no")
    return f"revision {revision or 'unknown'}{' with changes' if changed else ''}"


def _output(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""
