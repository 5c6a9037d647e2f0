"""The spool: output kept on disk until published, its middle dropped when there is too much."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.task import Cut
from pandar_daemon.adapters.process.spool import CHUNK_BYTES, FileSpool, FileSpools
from pandar_daemon.ports import OutputKey, Spool, Spools

KEY = OutputKey(project_id=1, task_id=42, attempt=2)
EXECUTION = UUID("019a0000-0000-7000-8000-000000000001")


def make(tmp_path: Path, limit: int) -> FileSpool:
    """Return an empty spool of the test's own."""
    return FileSpools(tmp_path).create(KEY, EXECUTION, limit_bytes=limit)


async def drained(spool: Spool) -> list[tuple[int, bytes]]:
    """Acknowledge all there is; return it as offset and bytes, adjacent chunks joined."""
    runs: list[tuple[int, bytes]] = []
    while chunks := await spool.unpublished():
        for chunk in chunks:
            assert 0 < len(chunk.data) <= CHUNK_BYTES
            if runs and runs[-1][0] + len(runs[-1][1]) == chunk.offset:
                runs[-1] = (runs[-1][0], runs[-1][1] + chunk.data)
            else:
                runs.append((chunk.offset, chunk.data))
            spool.acknowledge(chunk.offset + len(chunk.data))
    return runs


def recovered(tmp_path: Path) -> Spool:
    """Return the one spool a successor finds."""
    (spool,) = FileSpools(tmp_path).recover()
    return spool


def test_are_spools(tmp_path: Path) -> None:
    """The adapter is what the port promises, by type."""
    spools: Spools = FileSpools(tmp_path)
    spool: Spool = spools.create(KEY, EXECUTION, limit_bytes=10)
    assert (spool.key, spool.execution_id) == (KEY, EXECUTION)


async def test_gives_back_what_was_appended(tmp_path: Path) -> None:
    """Everything comes out, with its offset, and the end is known once sealed."""
    spool = make(tmp_path, 100)
    spool.append(b"hello ")
    spool.append(b"world")
    assert spool.seal() is None
    assert await drained(spool) == [(0, b"hello world")]


@pytest.mark.parametrize("size", [0, 1, 4, 5, 6, 9, 10])
async def test_within_the_limit_nothing_is_cut(tmp_path: Path, size: int) -> None:
    """Up to the last byte of the limit, all is kept."""
    spool = make(tmp_path, 10)
    data = bytes(range(size))
    spool.append(data)
    assert spool.seal() is None
    assert await drained(spool) == ([(0, data)] if data else [])


@pytest.mark.parametrize(
    ("size", "cut"),
    [(11, Cut(start=5, end=6)), (15, Cut(start=5, end=10)), (30, Cut(start=5, end=25))],
)
@pytest.mark.parametrize("step", [1, 3, 7, 100])
async def test_beyond_the_limit_head_and_tail_are_kept(
    tmp_path: Path, size: int, cut: Cut, step: int
) -> None:
    """One byte too many drops one byte of the middle; offsets stay those of the whole output."""
    spool = make(tmp_path, 10)
    data = bytes(range(size))
    for start in range(0, size, step):
        spool.append(data[start : start + step])
    assert spool.seal() == cut
    assert await drained(spool) == [(0, data[:5]), (cut.end, data[cut.end :])]


async def test_an_odd_limit_keeps_the_odd_byte(tmp_path: Path) -> None:
    """Of eleven bytes five are from the start and six from the end; a limit of one works too."""
    spool = make(tmp_path / "odd", 11)
    spool.append(bytes(range(20)))
    assert spool.seal() == Cut(start=5, end=14)
    one = make(tmp_path / "one", 1)
    one.append(b"abc")
    assert one.seal() == Cut(start=0, end=2)
    assert await drained(one) == [(2, b"c")]


def test_no_limit_at_all_is_refused(tmp_path: Path) -> None:
    """A spool that may keep nothing is a mistake."""
    with pytest.raises(ValueError, match="at least one byte"):
        make(tmp_path, 0)


async def test_the_head_is_published_while_running(tmp_path: Path) -> None:
    """The first half needs no end to be published; the second, which may yet change, does."""
    spool = make(tmp_path, 10)
    spool.append(b"12345678")
    (chunk,) = await spool.unpublished()
    assert (chunk.offset, chunk.data) == (0, b"12345")
    spool.acknowledge(5)
    waiting = asyncio.create_task(spool.unpublished())
    await asyncio.sleep(0)
    assert not waiting.done()
    spool.seal()
    (chunk,) = await waiting
    assert (chunk.offset, chunk.data) == (5, b"678")


async def test_waits_for_output(tmp_path: Path) -> None:
    """Who asks too early gets what comes."""
    spool = make(tmp_path, 10)
    waiting = asyncio.create_task(spool.unpublished())
    await asyncio.sleep(0)
    spool.append(b"now")
    assert [chunk.data for chunk in await waiting] == [b"now"]


async def test_unacknowledged_bytes_come_again(tmp_path: Path) -> None:
    """What was not acknowledged is returned again, from exactly there."""
    spool = make(tmp_path, 100)
    spool.append(b"hello world")
    await spool.unpublished()
    spool.acknowledge(6)
    assert [(chunk.offset, chunk.data) for chunk in await spool.unpublished()] == [(6, b"world")]


async def test_batches_are_bounded(tmp_path: Path) -> None:
    """However much waits, one batch is at most a mebibyte, in chunks of at most 64 KiB."""
    spool = make(tmp_path, 64 * 2**20)
    for _ in range(40):
        spool.append(b"x" * 100_000)
    batch = await spool.unpublished()
    assert [len(chunk.data) for chunk in batch] == [CHUNK_BYTES] * 16


async def test_a_successor_publishes_the_rest(tmp_path: Path) -> None:
    """Of a spool whose runner died, only what was not acknowledged is left to publish."""
    spool = make(tmp_path, 20)
    spool.append(b"0123456789abc")
    spool.acknowledge(4)
    heir = recovered(tmp_path)
    assert (heir.key, heir.execution_id) == (KEY, EXECUTION)
    assert await drained(heir) == [(4, b"456789abc")]
    heir.remove()
    assert FileSpools(tmp_path).recover() == []


async def test_a_successor_finds_head_and_tail(tmp_path: Path) -> None:
    """A cut spool is recovered with its cut."""
    make(tmp_path, 10).append(bytes(range(30)))
    heir = recovered(tmp_path)
    assert heir.seal() == Cut(start=5, end=25)
    assert await drained(heir) == [(0, bytes(range(5))), (25, bytes(range(25, 30)))]


async def test_a_kill_in_the_middle_of_a_write_leaves_only_true_bytes(tmp_path: Path) -> None:
    """Killed after bytes were overwritten but before they counted, no wrong byte is published."""
    spool = make(tmp_path, 10)
    data = bytes(range(20))
    spool.append(data[:10])
    save, killed = spool._save, iter([False])

    def save_until_killed() -> None:
        if not next(killed, True):
            save()

    spool._save = save_until_killed  # type: ignore[method-assign]
    spool.append(data[10:13])
    assert await drained(recovered(tmp_path)) == [(0, data[:5]), (8, data[8:10])]


def test_removing_twice_is_harmless(tmp_path: Path) -> None:
    """There is nothing left after the first time."""
    spool = make(tmp_path, 10)
    spool.remove()
    spool.remove()
    assert list(tmp_path.iterdir()) == []


def test_garbage_is_set_aside(tmp_path: Path) -> None:
    """A file that is not a spool, or only a piece of one, stops nobody."""
    (tmp_path / f"{EXECUTION}.out").write_bytes(b"short")
    (tmp_path / "no-uuid.out").write_bytes(b"x" * 200)
    assert FileSpools(tmp_path).recover() == []
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".broken", ".broken"]


def test_nothing_to_recover(tmp_path: Path) -> None:
    """A runner's first start finds no directory, and that is fine."""
    assert FileSpools(tmp_path / "never").recover() == []


def test_files_are_private(tmp_path: Path) -> None:
    """Output may hold anything: only its owner can read it."""
    make(tmp_path, 10).append(b"x")
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600


async def test_who_shows_nothing_has_no_file(tmp_path: Path) -> None:
    """A spool that nothing was written to costs the disk nothing, and can be ended as any other."""
    spool = make(tmp_path, 10)
    spool.append(b"")
    assert spool.seal() is None
    assert await drained(spool) == []
    assert FileSpools(tmp_path).recover() == []
    spool.remove()


@settings(max_examples=200, deadline=None)
@given(
    limit=st.integers(1, 40),
    pieces=st.lists(st.integers(0, 60), max_size=12),
    publish_after=st.integers(0, 12),
)
async def test_any_output_in_any_pieces(
    tmp_path_factory: pytest.TempPathFactory, limit: int, pieces: list[int], publish_after: int
) -> None:
    """Whatever is written: head and tail are right, and the cut lies exactly between them."""
    spool = make(tmp_path_factory.mktemp("spool"), limit)
    data = b""
    head: list[bytes] = []
    for nth, size in enumerate(pieces):
        piece = bytes((len(data) + i) % 251 for i in range(size))
        data += piece
        spool.append(piece)
        if nth == publish_after and data and limit > 1:
            for chunk in await spool.unpublished():
                head.append(chunk.data)
                spool.acknowledge(chunk.offset + len(chunk.data))
    cut = spool.seal()
    joined = [(0, b"".join(head))] if head else []
    kept = b"".join(part for _, part in joined + await drained(spool))
    if len(data) <= limit:
        assert (cut, kept) == (None, data)
    else:
        assert cut == Cut(start=limit // 2, end=len(data) - (limit - limit // 2))
        assert kept == data[: cut.start] + data[cut.end :]
    spool.remove()
