"""A project's ``setup``: one shell command that makes a fresh clone ready, shown as it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from pandar_daemon.ports import Process
from pandar_daemon.services.git import Unprepared

SETUP_SEC: Final = 900.0
"""What a setup may take."""


async def see_through(process: Process, show: Callable[[bytes], Awaitable[None]]) -> None:
    """Show what it writes until it has ended well.

    Raises `Unprepared` when it does not, or takes too long; then, and when this is cancelled,
    nothing of it is left.
    """
    try:
        async with asyncio.timeout(SETUP_SEC):
            async for data in process.output():
                await show(data)
            end = await process.wait()
    except TimeoutError:
        await process.kill()
        await process.wait()
        raise Unprepared(f"the project's setup took longer than {SETUP_SEC:g} s") from None
    except BaseException:
        await process.allow_until(0.0)
        await process.kill()
        raise
    if end.exit_code != 0:
        how = f"signal {end.signal}" if end.exit_code is None else f"exit code {end.exit_code}"
        raise Unprepared(f"the project's setup ended with {how}: see the task's output")
