"""Roles in the process of a test or a measurement."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from pandar_daemon.services.lifecycle import run_until
from pandar_daemon.wiring.parts import Parts
from pandar_daemon.wiring.roles import doors, services
from tests.support.bus import PATIENCE_SEC


@asynccontextmanager
async def in_process(made: Parts, roles: Collection[str]) -> AsyncIterator[None]:
    """Run roles, their doors open, while the context lasts; then stop them in order."""
    stop, opened = asyncio.Event(), asyncio.Semaphore(0)
    serving = asyncio.create_task(run_until(stop, services(made, roles, opened.release)))
    try:
        async with asyncio.timeout(PATIENCE_SEC):
            for _ in range(doors(roles)):
                await opened.acquire()
        yield
    finally:
        stop.set()
        await asyncio.wait({serving})
