"""What is done beside something that lasts; not at all beside what is over in a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager

Service = Callable[[], Coroutine[object, object, None]]


@contextmanager
def beside(group: asyncio.TaskGroup, after_sec: float, *services: Service) -> Iterator[None]:
    """Run services in ``group`` from ``after_sec`` on until this is left, if it lasts so long.

    A task that is made to sleep and be cancelled takes as long as fifty lines of code, and many
    commands end sooner than it would wake.
    """
    running: list[asyncio.Task[None]] = []

    def begin() -> None:
        running.extend(group.create_task(service()) for service in services)

    later = asyncio.get_running_loop().call_later(after_sec, begin)
    try:
        yield
    finally:
        later.cancel()
        for task in running:
            task.cancel()
