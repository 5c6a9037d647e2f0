"""How agents that speak the same protocol differ."""

from __future__ import annotations

from msgspec import Struct


class Quirks(Struct, frozen=True, kw_only=True):
    """``agent`` is its name in errors. Each other field names something most agents do not do.

    ``includes_cached``: input tokens count those read from a cache.
    ``tells_by_title``: calls state no input; a command is the title, its directory in the content.
    ``steers``: it can be told something during a turn, so the reason of a denial reaches it there.
    """

    agent: str = "the agent"
    includes_cached: bool = False
    tells_by_title: bool = False
    steers: bool = False
