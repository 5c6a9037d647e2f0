"""Waiting for what another process does, where nothing can tell us."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PATIENCE_SEC = 30.0
"""After this a test has failed; nothing that works takes so long."""

_LOOK_SEC = 0.005


async def until(condition: Callable[[], object], *, patience_sec: float = PATIENCE_SEC) -> None:
    """Return once the condition is true; fails the test when it never is."""
    deadline = time.monotonic() + patience_sec
    while not condition():
        assert time.monotonic() < deadline, f"never came true: {condition}"
        await asyncio.sleep(_LOOK_SEC)
