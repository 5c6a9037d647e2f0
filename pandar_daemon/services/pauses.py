"""How long to wait: before trying again, or for what may not happen."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress

FIRST_SEC = 0.1
LAST_SEC = 2.0


def pauses(first_sec: float = FIRST_SEC, last_sec: float = LAST_SEC) -> Iterator[float]:
    """Yield for ever seconds to wait: each twice the one before, up to ``last_sec``."""
    pause = first_sec
    while True:
        yield pause
        pause = min(pause * 2, last_sec)


async def moment(event: asyncio.Event, seconds: float | None) -> None:
    """Return when the event is set, clearing it, or after so long (``None``: never)."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    event.clear()
