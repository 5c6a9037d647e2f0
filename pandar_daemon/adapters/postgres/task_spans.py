"""Stretches of time a search goes through, from the newest task backwards.

Of a million tasks hundreds have even a rare word, and tens of thousands have its letters; a page
shows the newest twenty. So a search of the newest looks at a short stretch of time first. Each is
several times as long as the one before, until there are enough matches or no older task: the last
one costs most, and has no more than a few times as many as are wanted.

How short the first has to be is guessed from how long ago the newest few hundred tasks were made. A
wrong guess costs a few small statements.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

from projections.task_table import SPAN_BASE, SPANS, minute

NEAR: Final = 500
"""So many of the newest tasks tell how many there are in a stretch of time."""
_FIRST: Final = 32
"""The first stretch is so many times as long as those took: some thousands of tasks."""
_LEAST, _MOST = 2, 16
"""How many times as long the next is, at least and at most: twice what would be enough."""
_SHORTER: Final = 8
"""What part of a stretch is taken where it has many pages of matches."""
_PART: Final = 6
"""A stretch longer than that part of all time may as well be all: without places it costs less."""
_DENSE: Final = 5
"""But where all of time would have so many times enough, which are too many to read."""
_KEYS_MAX: Final = 16
_SHORTEST: Final = timedelta(minutes=SPANS[0])
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Span(Struct, frozen=True):
    """From an instant on (``None``: from the beginning) up to before another (``None``: now)."""

    since: datetime | None
    before: datetime | None = None

    def places(self, newest: datetime) -> list[int] | None:
        """Return what is asked of `MADE_IN`, ``None`` for all; no task is newer than ``newest``."""
        if self.since is None:
            return None
        first, last = minute(self.since), minute(self.before or newest)
        few = (n for n, length in enumerate(SPANS) if (last - first) // length <= _KEYS_MAX)
        n = next(few, len(SPANS) - 1)
        return [n * SPAN_BASE + m for m in range(first // SPANS[n], last // SPANS[n] + 1)]


class Known(Struct, frozen=True):
    """What is known of all tasks: how many, and when some of them were made."""

    tasks: int
    newest: datetime | None = None
    near: datetime | None = None
    """When the one was made that is `NEAR` before the newest."""
    oldest: datetime | None = None

    def first(self) -> Span:
        """Return the first stretch of time to look through."""
        if self.newest is None or self.near is None:
            return Span(None)
        return self._span((self.newest - self.near) * _FIRST, None)

    def following(self, span: Span, found: int, enough: int) -> Span | None:
        """Return the next stretch when so far ``found`` matches were found, not yet ``enough``.

        ``None`` when that were all.
        """
        if span.since is None or self.newest is None:
            return None
        times = max(_LEAST, min(_MOST, 2 * enough // found)) if found else _MOST
        seen = self.newest - span.since
        is_dense = found * self._all_of_it > _DENSE * enough * seen
        return self._span(seen * times, span.since, part=1 if is_dense else _PART)

    def shorter(self, span: Span) -> Span | None:
        """Return the newest part of one that has too many matches; ``None`` of one too short."""
        before = span.before or self.newest
        if before is None or self.oldest is None:
            return None
        length = (before - (span.since or self.oldest)) / _SHORTER
        return Span(before - length, span.before) if length >= _SHORTEST else None

    @property
    def _all_of_it(self) -> timedelta:
        assert self.newest is not None  # noqa: S101 - there are tasks
        return self.newest - (self.oldest or _EPOCH)

    def _span(self, length: timedelta, before: datetime | None, part: int = _PART) -> Span:
        assert self.newest is not None  # noqa: S101 - there are tasks
        length = max(length, _SHORTEST)
        return Span(None if part * length >= self._all_of_it else self.newest - length, before)
