"""Starts an agent only to hear whether it can be prompted."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

from pandar_daemon.domain.hearing import Broken, Heard, Ready
from pandar_daemon.ports.agents import Driver, Launch

PATIENCE_SEC: Final = 60.0
_CHUNK: Final = 65_536
_SHOWN_MAX: Final = 300


def prepared(folder: Path, name: str) -> Path:
    """Return a new folder of this name."""
    made = folder / name
    made.mkdir(mode=0o700)
    return made


async def greet(launch: Launch, driver: Driver, folder: Path) -> str:
    """Begin a session in an empty folder, and end it; return what is wrong, or nothing.

    The agent's HOME is made as its launch wants it. Nothing of its process group is left.
    """
    _furnish(launch)
    process = await asyncio.create_subprocess_exec(
        *launch.argv,
        env=dict(launch.environment),
        cwd=folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    stderr = asyncio.create_task(_last(process.stderr))
    try:
        async with asyncio.timeout(PATIENCE_SEC):
            broken = await _converse(process, driver, folder)
    except TimeoutError:
        broken = f"did not become ready within {PATIENCE_SEC:.0f} s"
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    said = await stderr
    await process.wait()
    return f"{broken}: {said}" if broken and said else broken


def _furnish(launch: Launch) -> None:
    for path, text in launch.files.items():
        target = Path(launch.environment["HOME"]) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    Path(launch.environment["TMPDIR"]).mkdir(parents=True, exist_ok=True)


async def _converse(process: asyncio.subprocess.Process, driver: Driver, folder: Path) -> str:
    """Return why it cannot be prompted; empty when it can."""
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the process was started without pipes")
    process.stdin.write(driver.open(str(folder)))
    while True:
        heard, out = driver.receive(await process.stdout.read(_CHUNK))
        process.stdin.write(out)
        for each in heard:
            if isinstance(each, Ready | Broken):
                return _error(each)


def _error(heard: Heard) -> str:
    return heard.error if isinstance(heard, Broken) else ""


async def _last(stream: asyncio.StreamReader | None) -> str:
    """Return the last line somebody wrote, when nobody can write any more."""
    kept = b""
    while stream and (data := await stream.read(_CHUNK)):
        kept = (kept + data)[-_CHUNK:]
    lines = kept.decode(errors="replace").split("\n")
    return next((line.strip()[:_SHOWN_MAX] for line in reversed(lines) if line.strip()), "")
