"""Keeps named services running: one that fails is started again, and all of it is in the log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger(__name__)

FIRST_PAUSE_SEC = 0.2
LAST_PAUSE_SEC = 10.0

Run = Callable[[], Awaitable[None]]


async def supervise(name: str, run: Run) -> None:
    """Run a service until cancelled, starting it again, ever later, whenever it ends by itself."""
    pause = FIRST_PAUSE_SEC
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        try:
            await run()
            log.error("service.ended", service=name)
        except asyncio.CancelledError:
            heed_cancellation()
            log.exception("service.failed", service=name)
        except Exception:  # whatever it was, the others go on, and soon it does too
            log.exception("service.failed", service=name)
            heed_cancellation()
        if loop.time() - began > LAST_PAUSE_SEC:
            pause = FIRST_PAUSE_SEC
        await asyncio.sleep(pause)
        pause = min(pause * 2, LAST_PAUSE_SEC)


async def run_until(stop: asyncio.Event, services: list[tuple[str, Run]]) -> None:
    """Run services until ``stop`` is set, then end them in the order given, each wholly.

    Cancelled it does the same; cancelled again it ends at once, and so do they.
    """
    tasks = [
        asyncio.create_task(supervise(name, run), name=f"service:{name}") for name, run in services
    ]
    try:
        await stop.wait()
    finally:
        await _end(tasks)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    try:
        for task in tasks:
            task.cancel()
            await asyncio.wait({task})
    finally:
        for task in tasks:
            task.cancel()


def heed_cancellation() -> None:
    """Raise ``CancelledError`` if somebody cancels this task, whatever else came of it.

    A loop that tries again after a failure asks this first: before Python 3.13 a task group that
    is cancelled while a child of it fails raises that failure alone, and the loop would never end.
    A service may also end by a cancellation of its own, which this lets pass.
    """
    current = asyncio.current_task()
    if current is not None and current.cancelling() > 0:
        raise asyncio.CancelledError
