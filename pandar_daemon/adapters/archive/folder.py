"""`Archive` in a folder: gzip members of JSON lines, and a manifest beside each data file.

A data file is a row of gzip members, each a block of events, a JSON line an event::

    events-000000000001-000001000000.jsonl.gz     │ member │ member │ member │ …
    events-000000000001-000001000000.json         {"blocks": [[position, offset], …], …}

So ``zcat`` reads the whole of it, and a position is found by unpacking one block.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import zlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from events.envelope import Recorded
from pandar_daemon.adapters.archive.writing import DataFile, beside, settle
from pandar_daemon.ports.archive import FORMAT, Archived, ArchiveUnreadable, Manifest, Span

_MANIFESTS_KEPT: Final = 64
_BLOCKS_KEPT: Final = 8  # a few readers side by side, each in the middle of a block
_DECODER: Final = msgspec.json.Decoder(Recorded)
_RESTORE: Final = "restore it from a copy into the archive folder (PANDAR_ARCHIVE)"
K = TypeVar("K")
V = TypeVar("V")


class FileArchive:
    """`Archive` over the files in ``folder``, which is made (0700) when something is written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._manifests: OrderedDict[str, Manifest] = OrderedDict()
        self._blocks: OrderedDict[tuple[str, int], list[Recorded]] = OrderedDict()

    # --- writing -------------------------------------------------------------------------------

    async def write(
        self, span: Span, events: AsyncIterator[list[Recorded]], previous: str | None
    ) -> Manifest:
        """Make the data file of a range, durably; see `Archive.write`."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{_stem(span)}.jsonl.gz"
        with beside(path) as file:
            data = DataFile(file, span)
            async for batch in events:
                await asyncio.to_thread(data.add, batch)
            manifest = await asyncio.to_thread(data.finish, path.name, previous)
            await asyncio.to_thread(settle, file, path)
        return manifest

    async def seal(self, manifest: Manifest) -> Archived:
        """Make the manifest's file, durably; see `Archive.seal`."""
        written = msgspec.json.encode(manifest)
        path = self._folder / f"{_stem(manifest.span)}.json"
        with beside(path) as file:
            file.write(written)
            await asyncio.to_thread(settle, file, path)
        sha256 = hashlib.sha256(written).hexdigest()
        return Archived(span=manifest.span, manifest=path.name, sha256=sha256)

    # --- reading -------------------------------------------------------------------------------

    async def manifest(self, archived: Archived) -> Manifest:
        """Return a manifest that is what the log says it is; see `Archive.manifest`."""
        known = self._manifests.get(archived.sha256)
        if known is None:
            known = await asyncio.to_thread(self._open_manifest, archived)
        _keep(self._manifests, archived.sha256, known, _MANIFESTS_KEPT)
        return known

    async def read(self, archived: Archived, *, after: int, limit: int) -> list[Recorded]:
        """Return at most ``limit`` events of a range after a position; see `Archive.read`."""
        manifest = await self.manifest(archived)
        found: list[Recorded] = []
        after = max(after, archived.span.first - 1)
        while len(found) < limit and after < archived.span.last:
            block = await self._block(manifest, after + 1)
            found += block[after + 1 - block[0].position :][: limit - len(found)]
            after = found[-1].position
        return found

    async def events(self, archived: Archived) -> AsyncIterator[list[Recorded]]:
        """Iterate over a whole range, its hash checked at the end; see `Archive.events`."""
        manifest = await self.manifest(archived)
        for n in range(len(manifest.blocks)):
            yield await asyncio.to_thread(self._unpack, manifest, n)
        await asyncio.to_thread(self._check_hash, manifest)

    def _open_manifest(self, archived: Archived) -> Manifest:
        try:
            written = (self._folder / archived.manifest).read_bytes()
        except OSError as error:
            raise _unreadable(archived.manifest, error) from error
        if hashlib.sha256(written).hexdigest() != archived.sha256:
            raise _damaged(archived.manifest, "it is not the one the log names")
        if msgspec.json.decode(written, type=_Format).format > FORMAT:
            raise ArchiveUnreadable(f"{archived.manifest} is of a newer Pandar: use that release")
        return msgspec.json.decode(written, type=Manifest)

    async def _block(self, manifest: Manifest, position: int) -> list[Recorded]:
        n = bisect_right(manifest.blocks, position, key=lambda block: block.position) - 1
        key = (manifest.data_sha256, n)
        block = self._blocks.get(key)
        if block is None:
            block = await asyncio.to_thread(self._unpack, manifest, n)
        _keep(self._blocks, key, block, _BLOCKS_KEPT)
        return block

    def _unpack(self, manifest: Manifest, n: int) -> list[Recorded]:
        block, last, end = manifest.blocks[n], manifest.last_position, manifest.data_bytes
        if n + 1 < len(manifest.blocks):
            last, end = manifest.blocks[n + 1].position - 1, manifest.blocks[n + 1].offset
        try:
            with (self._folder / manifest.data_file).open("rb") as file:
                file.seek(block.offset)
                packed = file.read(end - block.offset)
            events = _DECODER.decode_lines(gzip.decompress(packed))
        except (OSError, EOFError, zlib.error, msgspec.MsgspecError, UnicodeError) as error:
            raise _unreadable(manifest.data_file, error) from error
        if [event.position for event in events] != list(range(block.position, last + 1)):
            raise _damaged(manifest.data_file, f"it lacks some of {block.position} to {last}")
        return events

    def _check_hash(self, manifest: Manifest) -> None:
        try:
            with (self._folder / manifest.data_file).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise _unreadable(manifest.data_file, error) from error
        if found != manifest.data_sha256:
            raise _damaged(manifest.data_file, "its SHA-256 is not that of its manifest")


class _Format(Struct):
    format: int


def _stem(span: Span) -> str:
    return f"events-{span.first:012}-{span.last:012}"


def _keep(kept: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)


def _unreadable(name: str, error: Exception) -> ArchiveUnreadable:
    if isinstance(error, FileNotFoundError):
        return ArchiveUnreadable(f"archive file {name} is missing: {_RESTORE}")
    if isinstance(error, OSError) and error.strerror:
        return ArchiveUnreadable(f"archive file {name} cannot be read: {error.strerror}")
    return _damaged(name, str(error) or type(error).__name__)


def _damaged(name: str, why: str) -> ArchiveUnreadable:
    return ArchiveUnreadable(f"archive file {name} is damaged ({why}): {_RESTORE}")
