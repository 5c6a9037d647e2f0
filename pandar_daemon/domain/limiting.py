"""How often anybody may do something: buckets that fill with time, one for each who does it."""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated, Final

from msgspec import Meta, Struct

PerMinute = Annotated[int, Meta(ge=1, le=1_000_000)]
BUCKETS_MAX: Final = 10_000
"""The one used longest ago goes first; who comes back then has a full one."""
MINUTE_SEC: Final = 60.0


class Limiting(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one user, address or attempt may do; each user and each address is counted alone.

    ``failures_per_minute`` are tokens and links that are no good, by address. An attempt that asks
    oftener than ``confirmations_per_task`` is denied, one that goes on for as long is cancelled.
    ``notices_per_hour`` are messages to one user; what is more comes together in one.
    """

    requests_per_minute: PerMinute = 600
    commands_per_minute: PerMinute = 600
    failures_per_minute: PerMinute = 30
    confirmations_per_task: Annotated[int, Meta(ge=1, le=10_000)] = 100
    notices_per_hour: Annotated[int, Meta(ge=1, le=10_000)] = 100


class _Bucket(Struct):
    left: float
    at: float


class Buckets:
    """Token buckets by key: each holds a minute's worth at first, and fills evenly."""

    def __init__(self, per_minute: int) -> None:
        """Let each key do so much in a minute, all at once if it likes."""
        self._size = float(per_minute)
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, key: str, at: float) -> float:
        """Return 0 where ``key`` may do it now, which then counts, else the seconds until it may.

        ``at`` is in seconds of a clock that never goes back.
        """
        wait_sec = self.wait_sec(key, at)
        if not wait_sec:
            self._bucket(key, at).left -= 1.0
        return wait_sec

    def wait_sec(self, key: str, at: float) -> float:
        """Return the seconds until ``key`` may do it, 0 for now; nothing counts."""
        left = self._bucket(key, at).left
        return 0.0 if left >= 1.0 else (1.0 - left) * MINUTE_SEC / self._size

    def _bucket(self, key: str, at: float) -> _Bucket:
        bucket = self._buckets.setdefault(key, _Bucket(self._size, at))
        self._buckets.move_to_end(key)
        gained = max(0.0, at - bucket.at) * self._size / MINUTE_SEC
        bucket.left, bucket.at = min(self._size, bucket.left + gained), at
        if len(self._buckets) > BUCKETS_MAX:
            self._buckets.popitem(last=False)
        return bucket
