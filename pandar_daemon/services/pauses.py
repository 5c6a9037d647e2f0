"""How long to wait before trying again."""

from __future__ import annotations

from collections.abc import Iterator

FIRST_SEC = 0.1
LAST_SEC = 2.0


def pauses(first_sec: float = FIRST_SEC, last_sec: float = LAST_SEC) -> Iterator[float]:
    """Yield for ever seconds to wait: each twice the one before, up to ``last_sec``."""
    pause = first_sec
    while True:
        yield pause
        pause = min(pause * 2, last_sec)
