"""The box a process runs in, and the doors out of it."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from msgspec import Struct

from events.calls import Rules, ToolCall
from events.confinement import Level, Limits

PROXY: Final = "proxy"
"""The door to other hosts: an HTTP proxy at `PROXY_PORT` of the box's own loopback."""
CONTROL: Final = "control"
"""The door to the runner: a unix socket at `CONTROL_PATH` in the box."""
PROXY_PORT: Final = 3128
CONTROL_PATH: Final = "/run/pandar/control"
PROXY_URL: Final = f"http://127.0.0.1:{PROXY_PORT}"
MODELS_PATH: Final = "/pandar/"
"""Below it, on the proxy's own side, are the models: ``/pandar/NAME/…``."""


class Box(Struct, frozen=True, kw_only=True):
    """What a process may see and touch besides the programs of the system.

    All paths are absolute, and the same inside as outside. ``writable`` can be read and written,
    ``readable`` only read, ``protected`` lie in what is writable and can only be read; what of
    these is not there is left out. ``overlays`` are read-only files and folders mounted over
    others: by their path inside, their path outside. ``doors`` are made inside and handed out, by
    name.
    """

    level: Level = Level.BWRAP
    writable: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    overlays: Mapping[str, str] = {}
    doors: tuple[str, ...] = ()
    limits: Limits = Limits()


class Permission(Struct, frozen=True, kw_only=True):
    """Whether something may be done once, and if not, why: in words for who asked."""

    allowed: bool
    text: str = ""


Inquire = Callable[[ToolCall, str], Awaitable[Permission]]
"""Judges a call by the task's rules, asks people where these say so, and records what was decided.

The second argument says what it is for, in the words of who wants it. Takes as long as people do.
"""


class Blocked(Struct, frozen=True, kw_only=True):
    """An attempt to reach a host that was refused."""

    host: str
    port: int
    reason: str


class Upstream(Struct, frozen=True, kw_only=True):
    """A server an agent reaches by a path of the proxy itself: its key is added outside the box.

    ``base_url`` is the owner's, so it may be on this machine. ``headers`` replace those of the
    same name. ``paths`` are shell patterns of those below the URL that may be called; empty: all.
    """

    base_url: str
    headers: Mapping[str, str]
    paths: tuple[str, ...] = ()


class Outward(Struct, frozen=True, kw_only=True):
    """Whom one execution may call: hosts as in `Confines`, ``models`` by name.

    A model is at ``http://127.0.0.1:PROXY_PORT/pandar/NAME/``.
    """

    hosts: tuple[str, ...] = ()
    rules: Rules = Rules()
    models: Mapping[str, Upstream] = {}
    private_hosts: tuple[str, ...] = ()


class Egress(Protocol):
    """The way out of boxes."""

    def serving(
        self,
        door: socket.socket,
        outward: Outward,
        inquire: Inquire,
        blocked: Callable[[Blocked], Awaitable[None]],
    ) -> AbstractAsyncContextManager[None]:
        """Serve one box's `PROXY` door, which is closed in the end, with all connections."""
        ...
