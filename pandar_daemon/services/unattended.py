"""The doors of a box that works for an execution while nobody is asked: a setup, a proxy agent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from events.calls import ToolCall
from events.running import Assignment
from pandar_daemon.ports import Ending, Launch, Order, Permission, Process, Show
from pandar_daemon.services.broker import refuse
from pandar_daemon.services.line import Line
from pandar_daemon.services.means import Means
from pandar_daemon.services.way_out import Attempts, outward_of

_NOBODY: Final = "nobody is asked here: name the host under hosts in pandar.toml"


@asynccontextmanager
async def unattended(
    means: Means, assignment: Assignment, line: Line, process: Process, launch: Launch | None = None
) -> AsyncIterator[None]:
    """Let it call whom it may anyway, and nobody else; what it orders is refused."""
    attempts = Attempts(line)
    outward = outward_of(assignment, launch)
    try:
        async with means.openings.serving(process.doors, _refused, outward, _never, attempts.tell):
            yield
    finally:
        await attempts.close()


async def _never(_call: ToolCall, _why: str) -> Permission:
    return Permission(allowed=False, text=_NOBODY)


async def _refused(order: Order, show: Show) -> Ending:
    return await refuse(show, f"{order.tool}: nobody is asked here")
