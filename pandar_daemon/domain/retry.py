"""When to try again."""

from __future__ import annotations

FIRST_SEC = 10.0
CAP_SEC = 300.0


def backoff_sec(retries: int) -> float:
    """Return the pause before the next attempt: 10·2ⁿ s after ``n`` retries, at most 300 s."""
    return float(min(FIRST_SEC * 2 ** min(retries, 10), CAP_SEC))
