"""Secrets in what a server answers, made unreadable on the way into a box."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_SHORT: Final = 8
"""A key of fewer characters is no secret, and stands in too much else."""


class Mask:
    """Puts as many stars in the place of each secret, wherever a text is cut.

    What could be the beginning of one is held back until it is known not to be.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        found = {word.encode() for secret in secrets for word in (secret, *secret.split())}
        self._secrets = sorted((each for each in found if len(each) >= _SHORT), key=len)
        self._any = re.compile(b"|".join(map(re.escape, reversed(self._secrets))) or b"(?!)")
        self._held = b""

    @property
    def hides(self) -> bool:
        """Whether there is anything to hide."""
        return bool(self._secrets)

    def whole(self, data: bytes) -> bytes:
        """Return a text without secrets."""
        if not self._secrets:
            return data
        return self._any.sub(lambda found: b"*" * len(found[0]), data)

    def feed(self, data: bytes) -> bytes:
        """Return what may go on of a text that comes in parts."""
        text = self.whole(self._held + data)
        held = max((_overlap(text, secret) for secret in self._secrets), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def flush(self) -> bytes:
        """Return what was held back: the text is over."""
        held, self._held = self._held, b""
        return held


def _overlap(text: bytes, secret: bytes) -> int:
    """Return how many bytes at the end of a text could begin a secret."""
    most = min(len(secret) - 1, len(text))
    return next((n for n in range(most, 0, -1) if text.endswith(secret[:n])), 0)
