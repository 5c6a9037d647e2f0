"""The door through which programs in a box ask the runner to do something for them outside."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from msgspec import Struct


class Order(Struct, frozen=True, kw_only=True):
    """What a program in a box wants done: a tool with its arguments, in a folder of the box.

    Nothing of it can be trusted, not even that it is what was typed.
    """

    tool: str
    argv: tuple[str, ...] = ()
    cwd: str = "/"


class Ending(Struct, frozen=True, kw_only=True):
    """What becomes of an order in the end.

    It was done, or not, with ``exit_code``; or whoever ordered it is to run ``argv`` in the box
    itself, with ``environment`` added. ``{file}`` in there is a file with what was `Show`n as such.
    """

    exit_code: int = 0
    argv: tuple[str, ...] | None = None
    environment: Mapping[str, str] = {}


class Show(Protocol):
    """The way to whoever ordered something; in vain once that is gone."""

    async def output(self, data: bytes) -> None:
        """Let it write this to its standard output."""
        ...

    async def error(self, data: bytes) -> None:
        """Let it write this to its standard error."""
        ...

    async def file(self, data: bytes) -> None:
        """Let it add this to a file of its own."""
        ...


Orders = Callable[[Order, Show], Awaitable[Ending]]
"""Does what is ordered; cancelled when whoever ordered it is gone. Never raises but that."""


class Control(Protocol):
    """Serves the doors of boxes."""

    def serving(self, door: socket.socket, orders: Orders) -> AbstractAsyncContextManager[None]:
        """Serve one box's door, which is closed in the end, with all connections.

        However many come, whatever they send: what one box does costs no other one anything.
        """
        ...
