"""What a process of ours may see of a task, before it is known by what it is enclosed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from pandar_daemon.ports import Box


class Reach(Struct, frozen=True, kw_only=True):
    """``folder`` and ``home`` it may change, but for what is ``protected``.

    ``overlays`` as in `Box`.
    """

    folder: str
    home: str
    readable: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    overlays: Mapping[str, str] = {}


Enclose = Callable[[Reach], Box | None]
"""Returns the box for one process of an execution, ``None`` where it is confined by nothing."""
