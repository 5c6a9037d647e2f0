"""Takes secrets out of what is kept, published or shown; ``[REDACTED:kind]`` stands for each.

``kind`` is the name of a known secret, or says what a shape is that keys of some service have. What
was redacted is not changed by redacting it again. What is not recognised: see
``docs/explanation/secrets.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from pandar_daemon.domain.redaction_stream import Stream, regions
from pandar_daemon.domain.secret_finder import Finder
from pandar_daemon.domain.secret_forms import Literal, literals


class Redactor:
    """Knows some secrets by value, and all others by shape.

    ``known`` are values by name; those of less than `VALUE_MIN` bytes are not looked for.
    """

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        self._literals: dict[str, tuple[Literal, ...]] = {}
        self._known: Finder | None = None
        self._is_stale = False
        self.learn(known or {})

    def learn(self, known: Mapping[str, str]) -> None:
        """Look for these values too, from now on, streams that are under way included."""
        fresh = {value: name for name, value in known.items() if value not in self._literals}
        for value, name in fresh.items():
            self._literals[value] = literals(name, value)
        self._is_stale |= any(self._literals[value] for value in fresh)

    def copy(self) -> Redactor:
        """Return one that knows the same, and learns for itself."""
        same = Redactor()
        same._literals, same._known = dict(self._literals), self._finder
        return same

    def text(self, text: str) -> str:
        """Return a text without its secrets: the same object when there are none."""
        data = text.encode(errors="surrogatepass")
        redacted = self.bytes(data)
        return text if redacted is data else redacted.decode(errors="surrogatepass")

    def bytes(self, data: bytes) -> bytes:
        """Return data without its secrets: the same object when there are none."""
        if not self._finder.hits(data, 0):
            return data
        stream = self.stream()
        redacted = stream.feed(data) + stream.flush()
        return data if redacted == data else redacted

    def stream(self) -> Stream:
        """Return something that takes data in pieces, however they are cut."""
        return Stream(lambda: self._finder)

    @property
    def _finder(self) -> Finder:
        if self._is_stale:  # made when it is needed: secrets are learnt one by one
            self._known = Finder({each for of in self._literals.values() for each in of})
            self._is_stale = False
        return self._known or _shapes_only()


def keys_in(text: str) -> Iterator[str]:
    """Yield the kinds of secrets that a text has by their shape, but for passwords in URLs.

    These are as often examples, or those of a test's own server.
    """
    data = text.encode(errors="surrogatepass")
    if _shapes_only().hits(data, 0):
        for region in regions(_shapes_only(), data):
            if region.sought.kind != "url_password":
                yield region.sought.kind


@cache
def _shapes_only() -> Finder:
    """Return what looks for shapes: most programs of ours never do."""
    return Finder()
