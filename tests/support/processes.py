"""Waiting for the end of processes that are not our children."""

from __future__ import annotations

import asyncio
import os


async def ended(pid: int) -> None:
    """Return once a process has ended, at once if there is none; Linux only."""
    try:
        file = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_reader(file, over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(file)
        os.close(file)
