"""Waiting for a server that was just started."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from msgspec import Struct

from pandar_daemon.adapters.embedded.children import Child, last_words
from pandar_daemon.adapters.embedded.errors import CannotStart

_BETWEEN_TRIES_SEC = 0.01


class Readiness(Struct, frozen=True):
    """Who is waited for, where its reasons are logged, and for how long."""

    name: str
    log: Path
    timeout_sec: float = 60.0


async def until_ready(
    child: Child, answers: Callable[[], Awaitable[bool]], wanted: Readiness
) -> None:
    """Return once ``answers`` says so.

    Otherwise the child is gone when this ends: with `CannotStart`, quoting the end of its log,
    when it ended by itself or is not ready in time, and when cancelled.
    """
    try:
        async with asyncio.timeout(wanted.timeout_sec):
            while not await answers():
                _check_alive(child, wanted)
                await asyncio.sleep(_BETWEEN_TRIES_SEC)
    except TimeoutError as error:
        await child.stop()
        msg = f"{wanted.name} was not ready within {wanted.timeout_sec:g} s"
        raise _failed(msg, wanted) from error
    except BaseException:
        await child.stop()
        raise


def _check_alive(child: Child, wanted: Readiness) -> None:
    if child.exit_code is not None:
        raise _failed(f"{wanted.name} ended with {child.exit_code}", wanted)


def _failed(what: str, wanted: Readiness) -> CannotStart:
    return CannotStart(f"{what}; {wanted.log} says:\n{last_words(wanted.log)}")
