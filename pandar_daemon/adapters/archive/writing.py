"""Writing files of the archive: a name stands for a whole, durable file or for none."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from events.envelope import Recorded
from pandar_daemon.ports.archive import FORMAT, Block, Manifest, Span

BLOCK_EVENTS: Final = 1_000
"""Events a gzip member: unpacking one takes milliseconds, and smaller ones pack worse."""

_LEVEL: Final = 6
_ENCODER: Final = msgspec.json.Encoder()


@contextmanager
def beside(path: Path) -> Iterator[BinaryIO]:
    """Yield a file beside ``path`` (0600) to be settled there; whatever happens it is gone after.

    What a killed writer left there is written over.
    """
    temporary = _temporary(path)
    descriptor = os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
    finally:
        temporary.unlink(missing_ok=True)


def settle(file: BinaryIO, path: Path) -> None:
    """Give a file made `beside` its place, durably."""
    file.flush()
    os.fsync(file.fileno())
    _temporary(path).replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


class DataFile:
    """A data file being written: takes the events of a range in order, in batches of any size."""

    def __init__(self, file: BinaryIO, span: Span) -> None:
        self._file = file
        self._span = span
        self._waiting: list[Recorded] = []
        self._blocks: list[Block] = []
        self._sha256 = hashlib.sha256()
        self._bytes = 0
        self._first: Recorded | None = None
        self._last: Recorded | None = None
        self._times: tuple[datetime, datetime] | None = None

    def add(self, batch: list[Recorded]) -> None:
        """Take the next events; raises ``ValueError`` when they are not those."""
        for event in batch:
            wanted = self._span.first if self._last is None else self._last.position + 1
            if event.position != wanted or wanted > self._span.last:
                msg = f"position {event.position} came, not {wanted} of {self._span}"
                raise ValueError(msg)
            self._first, self._last = self._first or event, event
        self._waiting += batch
        while len(self._waiting) >= BLOCK_EVENTS:
            self._write(self._waiting[:BLOCK_EVENTS])
            del self._waiting[:BLOCK_EVENTS]

    def _write(self, events: list[Recorded]) -> None:
        times = [event.recorded_at for event in events] + list(self._times or ())
        self._times = (min(times), max(times))
        member = gzip.compress(_ENCODER.encode_lines(events), _LEVEL, mtime=0)
        self._blocks.append(Block(events[0].position, self._bytes))
        self._file.write(member)
        self._sha256.update(member)
        self._bytes += len(member)

    def finish(self, name: str, previous: str | None) -> Manifest:
        """Write what is left and return the manifest; raises ``ValueError`` when events lack."""
        if self._waiting:
            self._write(self._waiting)
        first, last, times = self._first, self._last, self._times
        if first is None or last is None or times is None or last.position != self._span.last:
            msg = f"the events of {self._span} are not all there"
            raise ValueError(msg)
        return Manifest(
            format=FORMAT,
            first_position=first.position,
            last_position=last.position,
            first_event_id=first.event_id,
            last_event_id=last.event_id,
            recorded_from=times[0],
            recorded_to=times[1],
            data_file=name,
            data_bytes=self._bytes,
            data_sha256=self._sha256.hexdigest(),
            blocks=tuple(self._blocks),
            previous=previous,
        )
