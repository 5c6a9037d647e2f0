"""Waiting for the read models, so that nobody is told that what they just made is not there."""

from __future__ import annotations

import asyncio
from typing import Final

from pandar_daemon.adapters.http.deps import Deps
from pandar_daemon.domain.refusals import Unavailable

_POLL_SEC: Final = 0.02


async def reached(needs: Deps, position: int) -> int:
    """Return how far the read models are, once that is at least a position.

    Raises `Unavailable` when that takes longer than 5 s.
    """
    try:
        async with asyncio.timeout(needs.limits.min_position_sec):
            while True:
                if (at := await needs.projects.position()) >= position:
                    return at
                await asyncio.sleep(_POLL_SEC)
    except TimeoutError:
        raise Unavailable("the read models are not there yet; ask again") from None


async def caught_up(needs: Deps) -> None:
    """Return once the read models show all that has happened until now; raises `Unavailable`."""
    await reached(needs, (await needs.store.head()).position)
