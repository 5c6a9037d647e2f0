"""Pieces of an attempt's output, read from the bus within bounds."""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator
from typing import Final

from msgspec import Struct

from events.task import Cut
from pandar_daemon.ports import Chunk, OutputKey, Outputs

PIECE_MAX: Final = 1024 * 1024
"""The most bytes one answer holds; a reader who wants more asks again from ``next_offset``."""

CHARACTER_MAX: Final = 4
"""Bytes of the longest character in UTF-8."""

_STEP: Final = 64 * 1024


class Piece(Struct, frozen=True, kw_only=True):
    """The bytes ``[offset, offset + len(data))`` of an output.

    ``cut`` is what is missing right before or right after it, or within the part looked at.
    """

    offset: int
    data: bytes
    cut: Cut | None = None

    @property
    def end(self) -> int:
        """Return the offset after its last byte."""
        return self.offset + len(self.data)


def within(chunk: Chunk, start: int) -> Chunk:
    """Return what of a chunk is at or after ``start``."""
    skip = max(0, start - chunk.offset)
    return Chunk(offset=chunk.offset + skip, data=chunk.data[skip:]) if skip else chunk


async def piece(outputs: Outputs, key: OutputKey, start: int, length: int) -> Piece:
    """Return at most ``length`` bytes from ``start`` on, or from where the output goes on there.

    A piece ends before the next bytes that are missing.
    """
    found, offset, cut = bytearray(), start, None
    async for chunk in _from(outputs.read(key, start=start), start):
        end = offset + len(found)
        if chunk.offset != end and found:
            cut = Cut(start=end, end=chunk.offset)
            break
        if chunk.offset != end:
            cut = Cut(start=await _end_before(outputs, key, start), end=chunk.offset)
            offset = chunk.offset
        found += chunk.data[: length - len(found)]
        if len(found) >= length:
            break
    return Piece(offset=offset, data=bytes(found), cut=cut)


async def _end_before(outputs: Outputs, key: OutputKey, missing: int) -> int:
    """Return where the bytes end that are stored before one that is missing, perhaps 0.

    Looks ever further back for them, so that little is read of an output with a small gap.
    """
    step, end, begin = _STEP, 0, missing
    while not end and begin > 0:
        begin = max(0, missing - step)
        async for chunk in outputs.read(key, start=begin):
            if chunk.offset >= missing:
                break
            end = chunk.offset + len(chunk.data)
        step *= 4
    return end


async def _from(chunks: AsyncIterator[Chunk], start: int) -> AsyncIterator[Chunk]:
    async for chunk in chunks:
        rest = within(chunk, start)
        if rest.data:
            yield rest


async def last_lines(outputs: Outputs, key: OutputKey, lines: int) -> Piece:
    """Return the last lines, at most `PIECE_MAX` bytes and nothing from before a missing part."""
    start = max(0, await outputs.size(key) - PIECE_MAX)
    kept, end, cut = bytearray(), start, None
    async for chunk in _from(outputs.read(key, start=start), start):
        if chunk.offset != end:
            known = end if kept else await _end_before(outputs, key, start)
            cut = Cut(start=known, end=chunk.offset)
            kept.clear()
        kept += chunk.data
        end = chunk.offset + len(chunk.data)
        if len(kept) > 2 * PIECE_MAX:  # it is being written to
            del kept[:-PIECE_MAX]
    shown = b"".join(bytes(kept).splitlines(keepends=True)[-lines:]) if lines else b""
    shown = shown[-PIECE_MAX:]
    return Piece(offset=end - len(shown), data=shown, cut=cut)


def text_of(found: Piece, *, final: bool) -> tuple[str, int]:
    """Return a piece as text and the offset after it.

    A character cut in two by the end of the piece is left for the next one, unless the piece is
    ``final``; bytes that are no UTF-8 become U+FFFD.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(found.data, final)
    return text, found.end - len(decoder.getstate()[0])
