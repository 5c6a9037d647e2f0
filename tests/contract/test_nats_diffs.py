"""Patches are stored whole, and read whole or not at all."""

from __future__ import annotations

import pytest

from events import subjects
from pandar_daemon.adapters.nats.connection import NatsConnection
from pandar_daemon.adapters.nats.diffs import PIECE_BYTES, NatsDiffs
from pandar_daemon.adapters.nats.jetstream import JetStream, Outgoing
from pandar_daemon.domain.changes import Changes, FileChange
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import Diff, DiffKey
from tests.support.bus import connected

pytestmark = pytest.mark.servers
KEY = DiffKey(project_id=1, task_id=42, checkpoint="1-1")
OTHER = DiffKey(project_id=1, task_id=42, checkpoint="1-2")


def diff(size: int) -> Diff:
    """Return a patch so long, no two pieces of it alike."""
    patch = b"".join(b"+line %09d\n" % n for n in range(size // 16 + 1))[:size]
    changes = Changes(
        commit="c" * 40,
        base="b" * 40,
        branch="pandar/42-x",
        files=[FileChange(path="a\nb", insertions=1, deletions=2), FileChange(path="image")],
        count=2,
        patch_bytes=size,
        cut=True,
    )
    return Diff(changes=changes, patch=patch)


async def drop_stream(connection: NatsConnection) -> None:
    """Lose all patches, as a crashed disk would."""
    await JetStream(connection).api(f"STREAM.DELETE.{subjects.DIFFS_STREAM}", {})


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 8 * 2**20])
async def test_what_was_written_is_read(nats_url: str, size: int) -> None:
    """Of every length, also when it was written twice; others are not mixed in."""
    async with connected(nats_url) as connection:
        diffs = NatsDiffs(connection)
        assert await diffs.read(KEY) is None
        await diffs.write(KEY, diff(size))
        await diffs.write(OTHER, diff(10))
        await diffs.write(KEY, diff(size))
        assert await NatsDiffs(connection).read(KEY) == diff(size)
        assert await diffs.read(OTHER) == diff(10)


async def test_a_part_is_nothing(nats_url: str) -> None:
    """Without its last message, or without its first piece, there is no patch."""
    async with connected(nats_url) as connection:
        diffs, js = NatsDiffs(connection), JetStream(connection)
        await diffs.write(KEY, diff(2 * PIECE_BYTES))
        await js.api(f"STREAM.MSG.DELETE.{subjects.DIFFS_STREAM}", {"seq": 1})
        assert await diffs.read(KEY) is None
        await diffs.write(OTHER, diff(2 * PIECE_BYTES))
        last = await js.last_sequence(subjects.DIFFS_STREAM)
        await js.api(f"STREAM.MSG.DELETE.{subjects.DIFFS_STREAM}", {"seq": last})
        assert await diffs.read(OTHER) is None


async def test_garbage_is_no_patch(nats_url: str) -> None:
    """What is no message of ours is not taken for one."""
    async with connected(nats_url) as connection:
        diffs = NatsDiffs(connection)
        await diffs.write(KEY, diff(10))
        garbage = Outgoing(
            subject=subjects.diff(1, 42, "1-1"), body=b"{}", headers={"Pandar-Whole": "3"}
        )
        await JetStream(connection).store(garbage)
        assert await diffs.read(KEY) is None


async def test_a_lost_stream_is_made_again(nats_url: str) -> None:
    """One write fails, the next is stored."""
    async with connected(nats_url) as connection:
        diffs = NatsDiffs(connection)
        await diffs.write(KEY, diff(10))
        await drop_stream(connection)
        with pytest.raises(Unavailable):
            await diffs.write(KEY, diff(10))
        await diffs.write(KEY, diff(10))
        assert await diffs.read(KEY) == diff(10)
