"""Finds secrets in bytes: by anchors, a few bytes each, which one automaton looks for at once.

At each anchor, those that begin with it look closer. So ordinary text, in which hardly any anchor
occurs, costs one look at each byte, however many secrets there are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property
from typing import Final, Protocol

import ahocorasick_rs
from msgspec import Struct

from pandar_daemon.domain.secret_forms import Literal
from pandar_daemon.domain.secret_parts import Found, More, Run, Shape, word
from pandar_daemon.domain.secret_shapes import SHAPES

QUICK_MAX: Final = 4_000
"""Anchors of which a quick automaton is made, of some 4 KB each; of more, a small one."""
FIRM_BEGINNING: Final = 4
"""Bytes of an anchor that are not shown either when nothing comes for a while."""

MARK: Final = Shape(
    kind="",
    anchor=b"[REDACTE",
    parts=(word("[REDACTED:"), Run("A-Za-z0-9_.-", 1, 64), word("]")),
    border=None,
)
"""What stands for a secret that was taken out before: not looked into again."""


class Sought(Protocol):
    """Something to look for."""

    @property
    def kind(self) -> str:
        """What stands in its place."""
        ...

    @property
    def anchor(self) -> bytes:
        """The bytes it is noticed by."""
        ...

    @property
    def hides_anchor(self) -> bool:
        """Whether these are part of the secret."""
        ...

    def scan(self, data: bytes, at: int, *, final: bool) -> Found | More | None:
        """Return whether it is at an anchor, as far as the data tell; ``final``: they are all."""
        ...


Hit = tuple[int, int, Sought]
"""Where an anchor is, and what it may be the beginning of; the rank of that comes between."""


Prepared = tuple[int, Sought, Callable[[bytes, int], object] | None, int]
"""What to look for, after its rank, and how to tell that it is not there in so many bytes."""


class Beginning(Struct, frozen=True):
    """The last bytes, from ``at``, that may become an anchor; ``hidden`` ones from ``hold``."""

    at: int
    hold: int
    firm: bool


class Finder:
    """Looks for all known shapes, and the given forms of known values."""

    def __init__(self, literals: Collection[Literal] = ()) -> None:
        longest = sorted(literals, key=lambda each: (-len(each.form), each.kind, each.form))
        by_anchor: dict[bytes, list[tuple[int, Sought]]] = defaultdict(list)
        every: list[Sought] = [MARK, *longest, *SHAPES]
        for rank, each in enumerate(every):
            by_anchor[each.anchor].append((rank, each))
        self._sought: Sequence[Sequence[tuple[int, Sought]]] = list(by_anchor.values())
        kinds = ahocorasick_rs.Implementation
        self._anchors = ahocorasick_rs.BytesAhoCorasick(
            list(by_anchor),
            implementation=kinds.DFA if len(by_anchor) < QUICK_MAX else kinds.ContiguousNFA,
        )
        self._prepared: dict[int, Sequence[Prepared]] = {}
        self._beginnings = _beginnings(by_anchor)

    def hits(self, data: bytes, start: int) -> Sequence[Hit]:
        """Return the anchors from ``start`` on, in order, of known values first."""
        view = memoryview(data)[start:] if start else data
        found = self._anchors.find_matches_as_indexes(view, overlapping=True)
        if not found:
            return ()
        size, prepared = len(data) - start, self._prepared
        return sorted(
            (start + at, rank, sought)
            for number, at, _ in found
            for rank, sought, match, reach in prepared.get(number) or self._prepare(number)
            if match is None or size - at <= reach or match(data, start + at) is not None
        )

    def _prepare(self, number: int) -> Sequence[Prepared]:
        """Return what looks at an anchor, with what tells at once that there is nothing."""
        self._prepared[number] = made = [
            (rank, sought, sought.whole.match, sought.reach)
            if isinstance(sought, Shape)
            else (rank, sought, None, 0)
            for rank, sought in self._sought[number]
        ]
        return made

    def beginning(self, data: bytes, start: int) -> Beginning | None:
        """Return the longest end of the data, from ``start`` at most, that may become an anchor."""
        size = len(data)
        at = hold = size
        for count in range(min(self._longest, size - start), 0, -1):
            hides = self._beginnings.get(data[-count:])
            if hides is not None:
                at = min(at, size - count)
                hold = min(hold, size - count) if hides else hold
        return None if at == size else Beginning(at, hold, size - hold >= FIRM_BEGINNING)

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._beginnings), default=0)


def _beginnings(anchors: dict[bytes, list[tuple[int, Sought]]]) -> dict[bytes, bool]:
    """Return all proper beginnings of anchors, and whether any of a hidden one is it."""
    found: dict[bytes, bool] = {}
    for anchor, of in anchors.items():
        hides = any(each.hides_anchor for _, each in of)
        for beginning in _prefixes(anchor):
            found[beginning] = found.get(beginning, False) or hides
    return found


def _prefixes(anchor: bytes) -> Iterator[bytes]:
    return (anchor[:count] for count in range(1, len(anchor)))
