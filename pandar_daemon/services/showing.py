"""What an execution shows, without its secrets: on its way to the disk, the bus and people.

What might be the beginning of a secret waits for more. When nothing more comes for a moment, it is
shown, unless so much of a secret is there that it can hardly be anything else: a prompt is read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from pandar_daemon.domain.redaction import Redactor

QUIET_SEC: Final = 0.2
"""How long nothing came when what was held back just in case is shown."""


class Showing:
    """One of the ways by which an execution shows something.

    ``show`` takes what has no secrets, in order; ``now`` is a clock that never jumps.
    """

    def __init__(
        self,
        redactor: Redactor,
        show: Callable[[bytes], Awaitable[None]],
        now: Callable[[], float],
    ) -> None:
        self._stream = redactor.stream()
        self._show = show
        self._now = now
        self._fed_at = 0.0

    async def feed(self, data: bytes) -> None:
        """Take what came next."""
        self._fed_at = self._now()
        await self._pass(self._stream.feed(data))

    async def tick(self) -> None:
        """Show what was held back just in case, if nothing came for a moment."""
        if self._stream.is_holding and self._now() - self._fed_at >= QUIET_SEC:
            await self._pass(self._stream.settle())

    async def close(self) -> None:
        """Show the rest: nothing more comes."""
        await self._pass(self._stream.flush())

    async def _pass(self, shown: bytes) -> None:
        if shown:
            await self._show(shown)
