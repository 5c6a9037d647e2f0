"""What is behind the doors of one execution's box, as long as its process lives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from socket import socket

from msgspec import Struct

from pandar_daemon.ports import Blocked, Control, Egress, Inquire, Orders, Outward
from pandar_daemon.ports.sandbox import CONTROL, PROXY


class Tool(Struct, frozen=True, kw_only=True):
    """How a tool is run outside: by ``argv`` and the words ordered, with these secrets by name.

    It reaches ``hosts``; with ``workspace`` it reads the task's files, and is run among them.
    """

    argv: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    env: Mapping[str, str] = {}
    workspace: bool = False
    timeout_sec: float = 600.0


def no_tools(_project_id: int) -> Mapping[str, Tool]:
    """Return the tools of a project: none."""
    return {}


class Openings(Struct, frozen=True, kw_only=True):
    """Who serves the doors of boxes; where there is nobody, a door is closed.

    ``overlays`` are mounted in every box, ``shims`` is a folder in there that is first in PATH;
    ``tools`` returns those that are run outside for a project.
    """

    control: Control | None = None
    egress: Egress | None = None
    overlays: Mapping[str, str] = {}
    shims: str = ""
    tools: Callable[[int], Mapping[str, Tool]] = no_tools

    @asynccontextmanager
    async def serving(
        self,
        doors: Mapping[str, socket],
        orders: Orders,
        outward: Outward,
        inquire: Inquire,
        blocked: Callable[[Blocked], Awaitable[None]],
    ) -> AsyncIterator[None]:
        """Serve one box's doors until the end; whoever waits at one then is hung up on."""
        async with AsyncExitStack() as stack:
            for name, taken in doors.items():
                if taken.fileno() < 0:  # its process has ended already
                    continue
                door = taken.dup()  # ours until we are done, whenever its process ends
                taken.close()
                if name == CONTROL and self.control is not None:
                    await stack.enter_async_context(self.control.serving(door, orders))
                elif name == PROXY and self.egress is not None:
                    served = self.egress.serving(door, outward, inquire, blocked)
                    await stack.enter_async_context(served)
                else:
                    door.close()
            yield
