"""What a secret of a known shape is made of, and how to tell it from bytes that are not all there.

A shape is a row of parts, each of which takes as much as it can and never gives anything back. So
what it makes of a text needs no look further than the parts themselves: the same wherever the text
is cut on its way, and as soon as possible.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from typing import Final, Protocol

from msgspec import Struct

ANCHOR_MAX: Final = 8
"""Bytes by which something that may be a secret is noticed."""
BEFORE_MAX: Final = 24
"""Bytes before it that say whether it begins there."""
FIRM_BYTES: Final = 8
"""So many bytes behind its anchor, what began like a secret is taken for one that goes on."""

_NO: Final = -1
_UNKNOWN: Final = -2

BORDER: Final = re.compile(
    rb"(?:[^A-Za-z0-9]|\\[abfnrtv]|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|%[0-9A-Fa-f]{2}"
    rb"|\x1b\[[0-9;:]{0,16}[A-Za-z])\Z"
)
"""What stands before a word: also an escaped character, or a terminal's change of colour."""


class Rest(Protocol):
    """What of a secret is still to come when its beginning is known."""

    def extend(self, data: bytes, start: int, end: int, *, final: bool) -> tuple[int, bool]:
        """Return where a secret from ``start`` ends that reached ``end``, and if it may go on.

        ``start`` may lie before the data. If it goes on, only what is behind the end says how.
        """
        ...


class Found(Struct, frozen=True):
    """Bytes ``start`` to ``end`` are a secret; with a ``rest``, more may be."""

    start: int
    end: int
    rest: Rest | None = None


class More(Struct, frozen=True):
    """It takes more to tell. Until then nothing from ``hold`` on may be shown.

    ``firm``: so much of it is there that it is not shown either when nothing comes for a while.
    """

    hold: int
    firm: bool


class Run:
    """At least ``least`` bytes of some characters, as in a pattern; all there are, or ``most``."""

    def __init__(self, characters: str, least: int, most: int | None = None) -> None:
        self.characters, self.least, self.most = characters, least, most

    @cached_property
    def pattern(self) -> re.Pattern[bytes]:
        """What takes as much of it as there is."""
        times = "*" if self.most is None else f"{{0,{self.most}}}"
        return re.compile(f"[{self.characters}]{times}".encode())

    @property
    def source(self) -> str:
        """It as a pattern."""
        most = "" if self.most is None else self.most
        return f"[{self.characters}]{{{self.least},{most}}}+"

    @property
    def reach(self) -> int:
        """How many bytes tell all of it, or that there are enough."""
        return self.least if self.most is None else self.most

    def end(self, data: bytes, at: int, *, final: bool) -> int:
        """Return where it ends, or that it is none, or that this is unknown."""
        found = self.pattern.match(data, at)
        end = at if found is None else found.end()
        if end == len(data) and not final and (self.most is None or end - at < self.most):
            return _UNKNOWN
        return end if end - at >= self.least else _NO

    def extend(self, data: bytes, start: int, end: int, *, final: bool) -> tuple[int, bool]:  # noqa: ARG002 - a Rest
        """Go on with what belongs to it."""
        found = self.pattern.match(data, end)
        end = end if found is None else found.end()
        return end, end == len(data) and not final


class Word(Struct, frozen=True):
    """One of some texts, none of which begins another."""

    texts: tuple[bytes, ...]

    def end(self, data: bytes, at: int, *, final: bool) -> int:
        """Return where it ends, or that it is none, or that this is unknown."""
        for text in self.texts:
            if data.startswith(text, at):
                return at + len(text)
        left = data[at:]
        open_ = not final and any(text.startswith(left) for text in self.texts)
        return _UNKNOWN if open_ else _NO

    @property
    def source(self) -> str:
        """It as a pattern."""
        return f"(?>{'|'.join(re.escape(text.decode()) for text in self.texts)})"

    @property
    def reach(self) -> int:
        """How many bytes tell it."""
        return max(map(len, self.texts))


class Gap(Struct, frozen=True):
    """At most ``most`` bytes until what is looked for, which ``ahead`` bytes of data tell."""

    pattern: re.Pattern[bytes]
    ahead: int

    def end(self, data: bytes, at: int, *, final: bool) -> int:
        """Return where it ends, or that it is none, or that this is unknown."""
        found = self.pattern.match(data, at)
        if found is not None:
            return found.end()
        return _NO if final or len(data) - at >= self.ahead else _UNKNOWN

    @property
    def source(self) -> str:
        """It as a pattern."""
        return f"(?>{self.pattern.pattern.decode()})"

    @property
    def reach(self) -> int:
        """How many bytes tell it."""
        return self.ahead


Part = Run | Word | Gap


def word(*texts: str) -> Word:
    """Return the part that is one of these texts."""
    return Word(tuple(text.encode() for text in texts))


class Shape:
    """A kind of secret that is known by how it looks.

    ``kept`` parts come first and are no secret themselves; ``after`` is what must follow it and is
    none. Without ``after``, the last part has no upper limit. ``likely`` looks at the secret, of
    the last part no more than the least there must be, and says whether it is one. ``rest``
    is what the last part goes on like, if not by itself.
    """

    def __init__(
        self,
        *,
        kind: str,
        anchor: bytes,
        parts: tuple[Part, ...],
        kept: int = 0,
        after: Word | None = None,
        likely: Callable[[bytes], bool] | None = None,
        border: re.Pattern[bytes] | None = BORDER,
        rest: Rest | None = None,
    ) -> None:
        self.kind, self.anchor = kind, anchor
        self._parts, self._kept, self._after = parts, kept, after
        self._likely, self._border, self._rest = likely, border, rest
        self._row: tuple[Part, ...] = (*parts, after) if after else parts
        self.reach = sum(part.reach for part in self._row)

    @cached_property
    def whole(self) -> re.Pattern[bytes]:
        """All of it at once, for data that reach far enough: what is none is told by one look."""
        return re.compile("".join(part.source for part in self._row).encode())

    @property
    def hides_anchor(self) -> bool:
        """Whether the bytes it is noticed by are part of the secret."""
        return self._kept == 0

    def scan(self, data: bytes, at: int, *, final: bool) -> Found | More | None:
        """Return whether one is at an anchor, as far as the data tell; ``final``: it is all."""
        if not self._begins(data, at):
            return None
        here = start = at
        for number, part in enumerate(self._parts):
            start = here if number == self._kept else start
            end = part.end(data, here, final=final)
            if end < 0:
                return None if end == _NO else self._undecided(data, number, start, here)
            here, last = end, here
        if self._after is None:
            return self._found(data, start, last, here)
        return self._closed(data, start, here, final=final)

    def _undecided(self, data: bytes, number: int, start: int, here: int) -> Found | More | None:
        """Return what there is to say when the data end in a part that begins ``here``."""
        part, is_last = self._parts[number], number == len(self._parts) - 1
        if is_last and not self._after and isinstance(part, Run) and len(data) - here >= part.least:
            return self._found(data, start, here, len(data))
        return self._more(data, start if number >= self._kept else len(data))

    def _begins(self, data: bytes, at: int) -> bool:
        if self._border is None or at == 0:
            return True
        return self._border.search(data[max(0, at - BEFORE_MAX) : at]) is not None

    def _found(self, data: bytes, start: int, last: int, end: int) -> Found | None:
        part = self._parts[-1]
        least = part.least if isinstance(part, Run) else 0
        if self._likely is not None and not self._likely(data[start : last + least]):
            return None
        return Found(start, end, self._rest or (part if isinstance(part, Run) else None))

    def _closed(self, data: bytes, start: int, end: int, *, final: bool) -> Found | More | None:
        assert self._after is not None  # noqa: S101 - it is a closed one
        followed = self._after.end(data, end, final=final)
        if followed == _UNKNOWN:
            return self._more(data, start)
        if followed == _NO or (self._likely is not None and not self._likely(data[start:end])):
            return None
        return Found(start, end)

    def _more(self, data: bytes, hold: int) -> More:
        harmless = len(self.anchor) if self.hides_anchor else 0
        return More(hold, len(data) - hold >= harmless + FIRM_BYTES)
