"""In which forms a secret whose value is known may be seen, beyond as it is.

Not among them: other encodings (compressed, encrypted, reversed, UTF-16), a part of the value, a
value whose bytes are apart (escape sequences within it, a comma list). Line breaks within it are.
"""

from __future__ import annotations

import base64
import html
import json
import re
import urllib.parse
from collections.abc import Iterator
from itertools import islice
from typing import Final

from msgspec import Struct

from pandar_daemon.domain.secret_parts import ANCHOR_MAX, Found, More

VALUE_MIN: Final = 8
"""Bytes of the shortest value that is looked for: a shorter one is in too many ordinary words."""
HEAD_MAX: Final = 2_048
"""Bytes that tell that a value is there; of a longer one the rest is left out as it comes."""
SHORT_MAX: Final = 4_096
"""Bytes of a value that is looked for in all forms, and not in the usual ones only."""
LINE_MIN: Final = 20
"""Bytes of a line of a value that is looked for by itself, too."""
_BROKEN_MIN: Final = 16
"""Bytes a line has at least on average where a form is broken into lines."""
_CUT_MIN: Final = 32
"""A form so long is looked for without its first bytes, too: these may end a line."""
LINES_MAX: Final = 512
"""Lines that the head of a value may have."""
ALONE_MAX: Final = 64
"""Lines of a value that are looked for by themselves."""
_BREAKS: Final = b"\r\n"
_LOGIN: Final = re.compile(
    rb"(?:[a-zA-Z][a-zA-Z0-9+.-]*://(?P<in>))?(?P<user>[^\s:/@]*):(?P<password>[^\s@]+)(?(in)@\S*)"
)
_MARK: Final = re.compile(rb"\[REDACTED:|\[(?:R(?:E(?:D(?:A(?:C(?:T(?:ED?)?)?)?)?)?)?)?\Z")


class Literal(Struct, frozen=True):
    """One form of a known value; ``kind`` is its name, ``breaks`` how many lines it may end.

    ``tail`` is what follows when it is too long to be waited for.
    """

    kind: str
    form: bytes
    breaks: int
    tail: bytes = b""

    @property
    def anchor(self) -> bytes:
        """The bytes it is noticed by."""
        return self.form[:ANCHOR_MAX]

    @property
    def hides_anchor(self) -> bool:
        """All of it is secret."""
        return True

    def scan(self, data: bytes, at: int, *, final: bool) -> Found | More | None:
        """Return whether it is at an anchor, as far as the data tell; ``final``: they are all."""
        form = self.form
        if data.startswith(form, at):
            return Found(at, at + len(form), self._rest)
        size = len(form) + 2 * self.breaks
        window = data[at : at + size]
        told = window.translate(None, _BREAKS)
        if len(told) >= len(form):
            end = at + _whole(window, len(form))
            return Found(at, end, self._rest) if told.startswith(form) else None
        if final or len(window) == size or not form.startswith(told):
            return None
        return More(at, firm=True)

    @property
    def _rest(self) -> Tail | None:
        return Tail(self.tail) if self.tail else None


class Tail:
    """What is still to come of a value of which the beginning was there."""

    def __init__(self, tail: bytes) -> None:
        self._left = tail

    def extend(self, data: bytes, start: int, end: int, *, final: bool) -> tuple[int, bool]:  # noqa: ARG002 - a Rest
        """Go on as far as it is that value, line breaks within it included."""
        while self._left and end < len(data):
            same = _same(self._left, data[end : end + len(self._left)])
            self._left, end = self._left[same:], end + same
            if self._left and end < len(data):
                if data[end] not in _BREAKS:
                    return end, False
                end += 1
        return end, bool(self._left) and not final


def _same(one: bytes, other: bytes) -> int:
    """Return how many bytes two texts begin with alike."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low


def _whole(window: bytes, count: int) -> int:
    """Return how many bytes hold so many that break no line."""
    end = count
    while (told := len(window[:end].translate(None, _BREAKS))) < count:
        end += count - told
    return end


def literals(name: str, value: str) -> tuple[Literal, ...]:
    """Return what to look for so that a value is not seen; nothing when it is too short."""
    data = value.strip().encode(errors="surrogatepass")
    if len(data) < VALUE_MIN:
        return ()
    kind = re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:64] or "secret"
    lines = min(data.count(b"\n"), LINES_MAX)
    forms = {form for secret in _secrets_in(data) for form in _forms(secret)}
    forms |= {form[ANCHOR_MAX:] for form in forms if len(form) >= _CUT_MIN}
    found = {_unmarked(form) for form in forms if len(form) >= VALUE_MIN}
    return tuple(_literal(kind, form, lines) for form in sorted(found))


def _literal(kind: str, form: bytes, lines: int) -> Literal:
    head = form[:HEAD_MAX]
    return Literal(kind, head, max(lines, len(head) // _BROKEN_MIN), form[HEAD_MAX:])


def _secrets_in(data: bytes) -> Iterator[bytes]:
    """Yield a value, and the password in one that is ``user:password`` or a URL that has one."""
    yield data
    found = _LOGIN.fullmatch(data)
    if found is not None and found["password"] != found["user"]:
        yield found["password"]
        yield urllib.parse.unquote_to_bytes(found["password"])


def _forms(data: bytes) -> Iterator[bytes]:
    text = data.decode(errors="replace")
    yield data.translate(None, _BREAKS)
    yield from _base64(data)
    escaped = json.dumps(text, ensure_ascii=False)[1:-1]
    yield escaped.encode(errors="replace")
    if len(data) <= SHORT_MAX:
        yield from _spelt(data, text)
    yield from islice(_lines(data), ALONE_MAX)


def _spelt(data: bytes, text: str) -> Iterator[bytes]:
    """Yield what hardly anybody makes of long texts."""
    yield data.hex().encode()
    yield data.hex().upper().encode()
    for safe in ("", "/", "/:"):
        quoted = urllib.parse.quote_from_bytes(data, safe=safe)
        yield quoted.encode()
        yield re.sub("%..", lambda found: found[0].lower(), quoted).encode()
    yield urllib.parse.quote_plus(data).encode()
    escaped = json.dumps(text)[1:-1]
    yield escaped.encode()
    yield escaped.replace("/", "\\/").encode()
    yield repr(text)[1:-1].encode(errors="replace")
    for quoted in (text.replace("'", "'\\''"), html.escape(text)):
        yield quoted.encode(errors="replace").translate(None, _BREAKS)


def _lines(data: bytes) -> Iterator[bytes]:
    for line in data.splitlines():
        if len(line) >= LINE_MIN and not line.startswith(b"-----") and len(line.split()) == 1:
            yield line


def _base64(data: bytes) -> Iterator[bytes]:
    """Yield what stays the same of it in base64, wherever in the encoded data it begins.

    Of the characters at both ends, which also tell what stands beside it, there is none.
    """
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data)
        begin = -(-before * 8 // 6)
        end = (before + len(data)) * 8 // 6
        stable = encoded[begin:end]
        yield stable
        yield stable.translate(bytes.maketrans(b"+/", b"-_"))


def _unmarked(form: bytes) -> bytes:
    """Return a form without what could begin a mark, of which no byte may be taken again."""
    found = _MARK.search(form)
    return form[: found.start()] if found and found.start() >= VALUE_MIN else form
