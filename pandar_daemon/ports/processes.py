"""What runs."""

from __future__ import annotations

import math
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from pandar_daemon.ports.sandbox import Box


class Exit(Struct, frozen=True, kw_only=True):
    """How a process tree ended; nothing of it is left."""

    exit_code: int | None  # None when it was killed by us
    signal: int | None = None
    cpu_sec: float = 0.0
    max_rss_bytes: int = 0


class Spec(Struct, frozen=True, kw_only=True):
    """What to run. ``environment`` is complete: nothing is inherited.

    ``direct`` is the same without a shell: it is tried first, but in a box, and ``argv`` is
    started if that cannot be. With ``piped`` its standard input and output are pipes, and only its
    errors go to the terminal.

    ``until`` is the first `Process.allow_until`, in force before the first instruction. Without a
    ``box`` it has the rights of our own user.
    """

    execution_id: UUID
    argv: tuple[str, ...]
    cwd: str
    environment: Mapping[str, str]
    until: float = math.inf
    columns: int = 120
    rows: int = 40
    piped: bool = False
    direct: tuple[str, ...] = ()
    box: Box | None = None


class Talk(Protocol):
    """The way to talk with a program: its pipes, or the keyboard of its terminal."""

    async def write(self, data: bytes) -> None:
        """Give it input, waiting while it takes none; in vain once it reads no more."""
        ...

    async def read(self) -> bytes:
        """Return what it wrote to its pipe next; empty once it will write no more."""
        ...

    def close_input(self) -> None:
        """Let it read the end of its input, where there is one. Idempotent."""
        ...

    def is_awaited(self) -> bool:
        """Return whether it is known to wait for somebody to type."""
        ...


class Process(Protocol):
    """A process tree under a guardian that outlives us only long enough to kill it."""

    @property
    def talk(self) -> Talk:
        """The way to talk with it."""
        ...

    @property
    def doors(self) -> Mapping[str, socket.socket]:
        """The listening sockets made in its box, by name; whoever takes them closes them."""
        ...

    def output(self) -> AsyncIterator[bytes]:
        """Iterate over what the terminal shows, until nothing of the tree is left to show more."""
        ...

    async def allow_until(self, boottime: float) -> None:
        """Let it run until then; past it the whole tree is frozen, until allowed again."""
        ...

    async def kill(self) -> None:
        """Kill the whole tree, processes that left its session included; idempotent."""
        ...

    async def wait(self) -> Exit:
        """Return once nothing of the tree is left."""
        ...


class ProcessHost(Protocol):
    """Starts process trees, each in a session of its own under a terminal."""

    async def start(self, spec: Spec) -> Process:
        """Start it; raises ``OSError`` naming what could not be started."""
        ...

    async def sweep(self) -> int:
        """Kill what an earlier, killed incarnation of this runner left; return how many."""
        ...
