"""The output of an execution, on disk until the bus has it.

One file holds everything, so that there is nothing to bring into agreement after a kill::

    header   what it is, and four counters, rewritten in place
    head     the first half of the limit: bytes [0, half)
    ring     the second half: byte n stands at (n - half) % ring

``size`` is how much the program wrote, ``kept_from`` the oldest byte still in the ring,
``acknowledged`` how far the bus has it. ``kept_from`` is raised *before* bytes are overwritten
and ``size`` *after* bytes are written: whenever we are killed, what the counters span is true.

It is there from the first byte on: who shows nothing has none. Nothing is fsynced: the page cache
survives a killed process, and a machine that loses power has lost the execution itself. Memory use
is one chunk, however much is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
from io import FileIO
from pathlib import Path
from uuid import UUID

import structlog

from events.task import Cut
from pandar_daemon.ports import Chunk, OutputKey

log = structlog.get_logger(__name__)

CHUNK_BYTES = 65_536
BATCH_CHUNKS = 16
SUFFIX = ".out"

_IDENTITY = struct.Struct(">8sQQQQ")  # magic, limit, project, task, attempt
_COUNTERS = struct.Struct(">QQQ")  # size, kept_from, acknowledged
_MAGIC = b"pandar1\n"
_HEADER = _IDENTITY.size + _COUNTERS.size


class FileSpool:
    """One spool. ``limit`` is how many bytes of output are kept, half of them from the start."""

    def __init__(self, path: Path, file: FileIO | None, key: OutputKey, limit: int) -> None:
        if limit < 1:
            raise ValueError("a spool keeps at least one byte")
        self.key = key
        self.execution_id = UUID(path.name.removesuffix(SUFFIX))
        self._path = path
        self._file = file
        self._half = limit // 2
        self._ring = limit - self._half
        self._size = self._acknowledged = 0
        self._kept_from = self._half
        self._sealed = False
        self._news = asyncio.Event()

    @classmethod
    def recover(cls, path: Path) -> FileSpool:
        """Open one a killed process left, sealed; raises ``ValueError`` when it is not one."""
        file = FileIO(path, "r+")
        try:
            header = os.pread(file.fileno(), _HEADER, 0)
            spool = cls(path, file, *_identity(header))
            counters = _COUNTERS.unpack_from(header, _IDENTITY.size)
        except (struct.error, ValueError) as error:
            file.close()
            raise ValueError(f"{path.name}: {error}") from error
        spool._size, spool._kept_from, spool._acknowledged = counters
        spool._sealed = True
        return spool

    def append(self, data: bytes) -> None:
        """Add what came next; raises ``OSError`` when the disk is full."""
        if not data:
            return
        if self._file is None:
            self._file = self._created()
        end = self._size + len(data)
        if end - self._ring > self._kept_from:
            self._kept_from = end - self._ring
            self._save()
        view = memoryview(data)
        head = max(0, self._half - self._size)
        self._write(view[:head], self._size)
        start = max(self._size + head, end - self._ring)  # what would be overwritten at once
        self._write_ring(view[start - self._size :] if end > self._half else view[:0], start)
        self._size = end
        self._save()
        self._news.set()

    def seal(self) -> Cut | None:
        """Say that nothing more comes; return what was dropped. Idempotent."""
        self._sealed = True
        self._news.set()
        return Cut(start=self._half, end=self._kept_from) if self._is_cut else None

    async def unpublished(self) -> list[Chunk]:
        """Wait for, and return, the next chunks to publish; empty when all of it is."""
        while not (chunks := self._next_chunks()) and not self._sealed:
            self._news.clear()
            await self._news.wait()
        return chunks

    def acknowledge(self, end: int) -> None:
        """Never return bytes before this offset again, not even after a restart."""
        self._acknowledged = max(self._acknowledged, end)
        self._save()

    def remove(self) -> None:
        """Delete it from the disk. Idempotent."""
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            self._file.close()

    def _created(self) -> FileIO:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = FileIO(self._path, "x+", opener=_private)
        key, limit = self.key, self._half + self._ring
        identity = (_MAGIC, limit, key.project_id, key.task_id, key.attempt)
        try:
            os.pwrite(file.fileno(), _IDENTITY.pack(*identity) + self._counters(), 0)
        except OSError:
            file.close()
            self._path.unlink()
            raise
        return file

    @property
    def _number(self) -> int:
        assert self._file is not None  # noqa: S101 - there are bytes in it
        return self._file.fileno()

    @property
    def _is_cut(self) -> bool:
        return self._kept_from > self._half

    def _next_chunks(self) -> list[Chunk]:
        """Return the next batch: of the ring only once it can no longer change."""
        offset = self._acknowledged
        chunks: list[Chunk] = []
        while len(chunks) < BATCH_CHUNKS:
            offset = max(offset, self._kept_from) if offset >= self._half else offset
            end = self._size if self._sealed else min(self._size, self._half)
            end = min(end, offset + CHUNK_BYTES, self._half if offset < self._half else end)
            if offset >= end:
                break
            chunks.append(Chunk(offset=offset, data=self._read(offset, end - offset)))
            offset = end
        return chunks

    def _place(self, offset: int) -> int:
        past = offset - self._half
        return _HEADER + (offset if past < 0 else self._half + past % self._ring)

    def _write(self, data: memoryview, offset: int) -> None:
        place = self._place(offset)
        while data:
            written = os.pwrite(self._number, data, place)
            data, place = data[written:], place + written

    def _write_ring(self, data: memoryview, offset: int) -> None:
        before_wrap = self._ring - (offset - self._half) % self._ring
        self._write(data[:before_wrap], offset)
        self._write(data[before_wrap:], offset + before_wrap)

    def _read(self, offset: int, count: int) -> bytes:
        if offset < self._half:
            return os.pread(self._number, count, self._place(offset))
        before_wrap = self._ring - (offset - self._half) % self._ring
        first = os.pread(self._number, min(count, before_wrap), self._place(offset))
        if count <= before_wrap:
            return first
        return first + os.pread(
            self._number, count - before_wrap, self._place(offset + before_wrap)
        )

    def _counters(self) -> bytes:
        return _COUNTERS.pack(self._size, self._kept_from, self._acknowledged)

    def _save(self) -> None:
        os.pwrite(self._number, self._counters(), _IDENTITY.size)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _identity(header: bytes) -> tuple[OutputKey, int]:
    magic, limit, project, task, attempt = _IDENTITY.unpack_from(header)
    if magic != _MAGIC:
        raise ValueError("not a spool")
    return OutputKey(project_id=project, task_id=task, attempt=attempt), limit


class FileSpools:
    """The spools in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def create(self, key: OutputKey, execution_id: UUID, *, limit_bytes: int) -> FileSpool:
        """Return an empty one that keeps at most so much; there is no file until it has bytes."""
        return FileSpool(self._directory / f"{execution_id}{SUFFIX}", None, key, limit_bytes)

    def recover(self) -> list[FileSpool]:
        """Return, sealed, what a killed incarnation of this runner left unpublished.

        What cannot be read is set aside as ``*.broken`` and logged.
        """
        spools = []
        for path in sorted(self._directory.glob(f"*{SUFFIX}")):
            try:
                spools.append(FileSpool.recover(path))
            except ValueError as error:
                log.warning("spool.broken", path=str(path), error=str(error))
                with contextlib.suppress(FileNotFoundError):
                    path.rename(path.with_suffix(".broken"))
        return spools
