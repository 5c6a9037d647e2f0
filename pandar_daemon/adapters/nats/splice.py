"""Putting chunks of output together again by their offsets."""

from __future__ import annotations

from pandar_daemon.ports import Chunk


class Splice:
    """Keeps the place in an output: what was seen before is trimmed from what comes.

    A hole is passed, not closed: it was cut, or is older than the retention.
    """

    def __init__(self, start: int) -> None:
        self.offset = start

    def fit(self, chunk: Chunk) -> Chunk | None:
        """Return the part of a chunk not seen yet, ``None`` if there is none."""
        end = chunk.offset + len(chunk.data)
        if end <= self.offset:
            return None
        begin = max(chunk.offset, self.offset)
        self.offset = end
        return Chunk(offset=begin, data=chunk.data[begin - chunk.offset :])
