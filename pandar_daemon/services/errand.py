"""A small program run to its end for us, confined as a task is: our own git on a task's files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Final

from msgspec import Struct, structs

from pandar_daemon.ports import Process, ProcessHost, Spec

SHOWN_MAX: Final = 65_536
"""Bytes of what it complains of that are kept, the last ones."""


class Told(Struct, frozen=True, kw_only=True):
    """How it ended (``None``: by our hand), what it wrote, and what it complained of."""

    exit_code: int | None
    output: bytes = b""
    complaint: str = ""
    cut: bool = False


Opened = Callable[[Process], AbstractAsyncContextManager[None]]
"""Serves the doors of a process."""


def _closed(_process: Process) -> AbstractAsyncContextManager[None]:
    return nullcontext()


async def run(
    host: ProcessHost,
    spec: Spec,
    given: bytes = b"",
    *,
    limit: int = 2**26,
    opened: Opened = _closed,
) -> Told:
    """Run it with ``given`` as its input, and return what came of it.

    What it writes beyond ``limit`` bytes is dropped, and it is killed. Cancelled, it is killed.
    ``opened`` serves its doors meanwhile. Raises ``OSError`` when it cannot be started.
    """
    process = await host.start(structs.replace(spec, piped=True))
    try:
        async with opened(process), asyncio.TaskGroup() as group:
            complaint = group.create_task(_complaint(process))
            group.create_task(_give(process, given))
            output, cut = await _output(process, limit)
            end = await process.wait()
    except BaseException:
        await process.allow_until(0.0)
        await process.kill()
        raise
    return Told(exit_code=end.exit_code, output=output, complaint=complaint.result(), cut=cut)


async def _give(process: Process, given: bytes) -> None:
    await process.talk.write(given)
    process.talk.close_input()


async def _output(process: Process, limit: int) -> tuple[bytes, bool]:
    parts: list[bytes] = []
    size = 0
    while data := await process.talk.read():
        size += len(data)
        if size > limit:
            await process.allow_until(0.0)
            await process.kill()
            return b"".join(parts), True
        parts.append(data)
    return b"".join(parts), False


async def _complaint(process: Process) -> str:
    kept = b""
    async for data in process.output():
        kept = (kept + data)[-SHOWN_MAX:]
    return kept.decode(errors="replace").strip()
