"""Private keys as text: a headline, lines of base64, a last line; wherever they are copied to.

A line may have something before it (a number, a ``+``, a quote) and its end may be escaped. A block
whose last line is missing ends where no more base64 comes, and in any case after `BLOCK_MAX`.
"""

from __future__ import annotations

import re
from typing import Final

from pandar_daemon.domain.secret_parts import Gap, Run, Shape, word

BLOCK_MAX: Final = 16_384
"""Bytes of a block, of which an RSA key of 8,192 bits takes 6,500."""
_LINE_MIN: Final = 20
_GAP_MAX: Final = 80
_AHEAD: Final = _GAP_MAX + _LINE_MIN
_LINE: Final = re.compile(rb"[A-Za-z0-9+/=]*")
_TO_LINE: Final = re.compile(
    rb"(?:[^\[-]|-(?!-)){0,%d}?(?=[A-Za-z0-9+/]{%d})" % (_GAP_MAX, _LINE_MIN)
)
_TO_NEXT: Final = re.compile(
    rb"(?:[^\[-]|-(?!-)){0,%d}?(?:(?=[A-Za-z0-9+/]{%d})|(?P<end>-----END))" % (_GAP_MAX, _LINE_MIN)
)
_LABEL: Final = re.compile(rb"[A-Z0-9 ]{0,48}-{0,5}")
_LABEL_MAX: Final = 53


class Body:
    """The lines of a block behind the first one."""

    def extend(self, data: bytes, start: int, end: int, *, final: bool) -> tuple[int, bool]:
        """Go on until no line follows any more, or the last one does."""
        limit = start + BLOCK_MAX
        while True:
            found = _LINE.match(data, end)
            end = end if found is None else found.end()
            if end >= limit:
                return limit, False
            if end == len(data):
                return end, not final
            follows = _TO_NEXT.match(data, end)
            if follows is None:
                return end, not final and len(data) - end < _AHEAD
            if follows["end"] is not None:
                return _closed(data, end, follows.end(), limit, final=final)
            end = follows.end()


def _closed(data: bytes, end: int, label: int, limit: int, *, final: bool) -> tuple[int, bool]:
    if not final and len(data) - label < _LABEL_MAX + 1:
        named = _LABEL.match(data, label)
        if named is not None and named.end() == len(data):
            return end, True
    named = _LABEL.match(data, label)
    return min(limit, label if named is None else named.end()), False


PRIVATE_KEY: Final = Shape(
    kind="private_key",
    anchor=b"-----BEG",
    parts=(
        word("-----BEGIN "),
        Run("A-Z0-9 ", 11, 48),
        word("-----"),
        Gap(_TO_LINE, _AHEAD),
        Run("A-Za-z0-9+/=", _LINE_MIN),
    ),
    likely=lambda block: b"PRIVATE KEY" in block,
    border=None,
    rest=Body(),
)
