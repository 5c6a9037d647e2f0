"""The archive: files that hold a range of the log exactly, or say what is wrong with them."""

from __future__ import annotations

import gzip
import hashlib
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from events.envelope import Recorded
from pandar_daemon.adapters.archive.folder import FileArchive
from pandar_daemon.adapters.archive.writing import BLOCK_EVENTS
from pandar_daemon.ports.archive import Archived, ArchiveUnreadable, Manifest, Span
from tests.support.lives import chronicle, random_lives

HISTORY = chronicle(random_lives(7, 1_500, steps=12))
SPAN = Span(1, 2_600)


async def batches(events: list[Recorded], size: int = 700) -> AsyncIterator[list[Recorded]]:
    """Yield events in batches that are no blocks."""
    for begin in range(0, len(events), size):
        yield events[begin : begin + size]


def history(span: Span) -> list[Recorded]:
    """Return the events of a range."""
    return HISTORY[span.first - 1 : span.last]


async def write(folder: Path, span: Span = SPAN, previous: str | None = None) -> Archived:
    """Return a range that is in files."""
    archive = FileArchive(folder)
    manifest = await archive.write(span, batches(history(span)), previous)
    return await archive.seal(manifest)


def manifest_of(folder: Path, archived: Archived) -> Manifest:
    """Return a manifest as it stands on the disk."""
    return msgspec.json.decode((folder / archived.manifest).read_bytes(), type=Manifest)


def files(folder: Path) -> dict[str, bytes]:
    """Return what is in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Every event comes back as it was, by position from anywhere, and as a whole."""
    archived = await write(tmp_path)
    archive = FileArchive(tmp_path)
    assert [e async for batch in archive.events(archived) for e in batch] == history(SPAN)
    for after, limit in ((0, 10), (995, 10), (999, 1), (1_000, 5_000), (2_599, 9), (2_600, 9)):
        wanted = history(SPAN)[after : after + limit]
        assert await archive.read(archived, after=after, limit=limit) == wanted


async def test_a_range_in_the_middle(tmp_path: Path) -> None:
    """A range need not begin at 1; what is asked for before it begins where it does."""
    span = Span(301, 1_700)
    archived = await write(tmp_path, span, "0" * 64)
    read = FileArchive(tmp_path).read
    assert await read(archived, after=5, limit=3) == HISTORY[300:303]
    assert await read(archived, after=1_300, limit=900) == HISTORY[1_300:1_700]


async def test_any_program_can_read_it(tmp_path: Path) -> None:
    """The file is gzip of JSON lines, its manifest says what is in it and vouches for it."""
    archived = await write(tmp_path, previous="f" * 64)
    manifest = manifest_of(tmp_path, archived)
    path = tmp_path / manifest.data_file
    lines = gzip.decompress(path.read_bytes()).splitlines()
    assert [msgspec.json.decode(line)["position"] for line in lines] == list(range(1, 2_601))
    assert manifest.data_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert manifest.data_bytes == path.stat().st_size
    assert [block.position for block in manifest.blocks] == [1, 1_001, 2_001]
    first, last = history(SPAN)[0], history(SPAN)[-1]
    assert (manifest.first_event_id, manifest.last_event_id) == (first.event_id, last.event_id)
    assert (manifest.recorded_from, manifest.recorded_to) == (first.recorded_at, last.recorded_at)
    assert (manifest.previous, manifest.format) == ("f" * 64, 1)
    for one in (tmp_path / archived.manifest, path):
        assert stat.S_IMODE(one.stat().st_mode) == 0o600


async def test_only_the_block_asked_for_is_unpacked(tmp_path: Path) -> None:
    """Damage in one block is no matter to who reads another."""
    archived = await write(tmp_path)
    manifest = manifest_of(tmp_path, archived)
    path = tmp_path / manifest.data_file
    data = bytearray(path.read_bytes())
    data[manifest.blocks[1].offset + 100] ^= 0xFF
    path.write_bytes(data)
    archive = FileArchive(tmp_path)
    assert await archive.read(archived, after=0, limit=1_000) == HISTORY[:1_000]
    assert await archive.read(archived, after=2_000, limit=10) == HISTORY[2_000:2_010]
    with pytest.raises(ArchiveUnreadable, match=f"{manifest.data_file} is damaged"):
        await archive.read(archived, after=999, limit=10)


async def test_writing_again_replaces(tmp_path: Path) -> None:
    """What a killed try left, whole or in part, is written over; the bytes are the same."""
    first = await write(tmp_path)
    written = files(tmp_path)
    for name in written:
        (tmp_path / name).write_bytes(b"half")
        (tmp_path / f".{name}.new").write_bytes(b"half of it")
    assert await write(tmp_path) == first
    assert files(tmp_path) == written


@pytest.mark.parametrize("wrong", [HISTORY[1:2_600], HISTORY[:2_599], HISTORY[:2_601], []])
async def test_other_events_are_refused(tmp_path: Path, wrong: list[Recorded]) -> None:
    """Events that are not the range's make no file."""
    with pytest.raises(ValueError, match=r"Span|position"):
        await FileArchive(tmp_path).write(SPAN, batches(wrong), None)
    assert files(tmp_path) == {}


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


def _change(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-300] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [Path.unlink, _cut, _change])
@pytest.mark.parametrize("suffix", [".jsonl.gz", ".json"])
async def test_damage_is_told_and_never_read_over(
    tmp_path: Path, damage: Callable[[Path], None], suffix: str
) -> None:
    """A file that is missing, cut or changed is named, and what to do; no event comes of it."""
    archived = await write(tmp_path)
    path = tmp_path / next(name for name in files(tmp_path) if name.endswith(suffix))
    damage(path)
    with pytest.raises(ArchiveUnreadable, match=rf"archive file {path.name} is .*restore it"):
        await FileArchive(tmp_path).read(archived, after=2_000, limit=600)


async def test_another_archive_of_the_same_range_is_told_apart(tmp_path: Path) -> None:
    """A manifest that is whole but not the one the log names is refused."""
    archived = await write(tmp_path)
    await write(tmp_path, previous="a" * 64)
    with pytest.raises(ArchiveUnreadable, match="not the one the log names"):
        await FileArchive(tmp_path).manifest(archived)


async def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    """Files of a later release are not guessed at."""
    archive = FileArchive(tmp_path)
    manifest = await archive.write(SPAN, batches(history(SPAN)), None)
    archived = await archive.seal(msgspec.structs.replace(manifest, format=2))
    with pytest.raises(ArchiveUnreadable, match="of a newer Pandar"):
        await archive.manifest(archived)


async def test_changed_events_fail_the_hash(tmp_path: Path) -> None:
    """Whoever packs other events of the same positions into the file is found by the whole read."""
    archived = await write(tmp_path)
    path = tmp_path / manifest_of(tmp_path, archived).data_file
    members = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    members[-1] = members[-1].replace(b'"actor":"user:1"', b'"actor":"user:2"')
    size = BLOCK_EVENTS
    packed = [
        gzip.compress(b"".join(members[n : n + size]), 6, mtime=0) for n in range(0, 2_600, size)
    ]
    path.write_bytes(b"".join(packed))
    with pytest.raises(ArchiveUnreadable, match=r"SHA-256|damaged"):
        async for _ in FileArchive(tmp_path).events(archived):
            pass
