"""What several executions consumed together."""

from __future__ import annotations

import msgspec

from events.task import Usage


def added(one: Usage, other: Usage) -> Usage:
    """Return what two executions consumed together; memory is the greater of both."""

    def plus(a: float | None, b: float | None) -> float | None:
        return b if a is None else a if b is None else a + b

    sums = {
        name: plus(getattr(one, name), getattr(other, name))
        for name in Usage.__struct_fields__
        if name != "max_rss_bytes"
    }
    return msgspec.convert(
        {**sums, "max_rss_bytes": max(one.max_rss_bytes, other.max_rss_bytes)}, Usage
    )
