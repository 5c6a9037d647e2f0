"""Starts an agent only to hear whether it can be prompted."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from pandar_daemon.domain.hearing import Broken, Heard, Ready
from pandar_daemon.ports.agents import Driver, Launch
from pandar_daemon.ports.processes import Process

PATIENCE_SEC: Final = 60.0
_KEPT: Final = 65_536
_SHOWN_MAX: Final = 300


def prepared(folder: Path, name: str) -> Path:
    """Return a new folder of this name."""
    made = folder / name
    made.mkdir(mode=0o700)
    return made


def furnish(launch: Launch) -> None:
    """Make an agent's HOME as its launch wants it."""
    for path, text in launch.files.items():
        target = Path(launch.environment["HOME"]) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    Path(launch.environment["TMPDIR"]).mkdir(parents=True, exist_ok=True)


async def greet(process: Process, driver: Driver, folder: Path) -> str:
    """Begin a session in a folder, and end it; return what is wrong, or nothing.

    The agent was started with pipes. Nothing of its process tree is left.
    """
    complaint = asyncio.create_task(_last(process))
    try:
        async with asyncio.timeout(PATIENCE_SEC):
            broken = await _converse(process, driver, folder)
    except TimeoutError:
        broken = f"did not become ready within {PATIENCE_SEC:.0f} s"
    finally:
        await process.kill()
        said = await complaint
        await process.wait()
    return f"{broken}: {said}" if broken and said else broken


async def _converse(process: Process, driver: Driver, folder: Path) -> str:
    """Return why it cannot be prompted; empty when it can."""
    await process.talk.write(driver.open(str(folder)))
    while True:
        heard, out = driver.receive(await process.talk.read())
        for each in heard:
            if isinstance(each, Ready | Broken):
                return _error(each)
        await process.talk.write(out)


def _error(heard: Heard) -> str:
    return heard.error if isinstance(heard, Broken) else ""


async def _last(process: Process) -> str:
    """Return the last line it complained of, when nobody can any more."""
    kept = b""
    async for data in process.output():
        kept = (kept + data)[-_KEPT:]
    lines = kept.decode(errors="replace").splitlines()
    return next((line.strip()[:_SHOWN_MAX] for line in reversed(lines) if line.strip()), "")
