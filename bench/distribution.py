"""How long things took: quantiles of any number of durations in bounded memory, and lags."""

from __future__ import annotations

import math
from collections import Counter, deque

PRECISION = 0.01
_STEP = math.log1p(2 * PRECISION)
_LEAST = 1e-6
"""Shorter durations, in seconds, count as this long."""


class Distribution:
    """Durations in seconds, kept as counts in buckets: a quantile is within 1 % of the truth."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0
        self.greatest = 0.0

    def add(self, seconds: float) -> None:
        """Count a duration."""
        self._buckets[math.floor(math.log(max(seconds, _LEAST) / _LEAST) / _STEP)] += 1
        self.count += 1
        self.greatest = max(self.greatest, seconds)

    def quantile(self, q: float) -> float:
        """Return what the fraction ``q`` of the durations does not exceed; ``nan`` of none."""
        wanted = max(1, math.ceil(q * self.count))
        for bucket in sorted(self._buckets):
            wanted -= self._buckets[bucket]
            if wanted <= 0:
                return min(_LEAST * math.exp((bucket + 0.5) * _STEP), self.greatest)
        return math.nan

    @property
    def p50(self) -> float:
        """The median, in seconds."""
        return self.quantile(0.50)

    @property
    def p99(self) -> float:
        """What one in a hundred exceeds, in seconds."""
        return self.quantile(0.99)


class Lag:
    """How long each position of a log takes from its beginning to its end."""

    def __init__(self) -> None:
        self.taken = Distribution()
        self._open: deque[tuple[int, float]] = deque()
        self._begun = 0

    @property
    def waiting(self) -> int:
        """How many positions have begun and not ended."""
        return len(self._open)

    def skip(self, position: int) -> None:
        """Take no note of positions up to this one."""
        self._begun = max(self._begun, position)

    def began(self, position: int, at: float) -> None:
        """Say that all positions up to this one, as far as they are new, began at a time."""
        self._open.extend((new, at) for new in range(self._begun + 1, position + 1))
        self.skip(position)

    def ended(self, position: int, at: float) -> None:
        """Say that all positions up to this one have ended by a time."""
        while self._open and self._open[0][0] <= position:
            self.taken.add(at - self._open.popleft()[1])
