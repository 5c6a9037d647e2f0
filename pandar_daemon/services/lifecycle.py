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
            if _is_being_cancelled():
                raise
            log.exception("service.failed", service=name)
        except Exception:  # whatever it was, the others go on, and soon it does too
            log.exception("service.failed", service=name)
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


def _is_being_cancelled() -> bool:
    """Tell whether somebody cancels us; a service may also end by a cancellation of its own."""
    current = asyncio.current_task()
    return current is not None and current.cancelling() > 0
