"""An attempt's bytes as text that never breaks a character in two."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from events.task import Cut
from pandar_daemon.adapters.http.stored_output import Piece, text_of
from pandar_daemon.ports import Chunk

Say = Callable[[int, int, str], Awaitable[None]]
"""Takes the offset of a text's first byte, the offset after its last, and the text."""


class Transcript:
    """Turns chunks, in order, into text; says none that is empty."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._left = Piece(offset=0, data=b"")

    async def emit(self, chunk: Chunk, missing: Cut | None) -> None:
        """Say a chunk, but for a character at its end that the next one may complete."""
        if missing or not self._left.data:
            await self.close()
            self._left = Piece(offset=chunk.offset, data=b"")
        await self._tell(self._left.data + chunk.data, final=False)

    async def close(self) -> None:
        """Say what was held back: nothing follows it any more."""
        await self._tell(self._left.data, final=True)

    async def _tell(self, data: bytes, *, final: bool) -> None:
        found = Piece(offset=self._left.offset, data=data)
        text, end = text_of(found, final=final)
        self._left = Piece(offset=end, data=data[end - found.offset :])
        if text:
            await self._say(found.offset, end, text)
