"""The `Diffs` port: patches in the stream ``PANDAR_DIFFS``, in pieces, each at its byte offset.

The last message of a subject says what there is and how long it is; it is stored when all else is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec
import structlog
from nats.aio.msg import Msg

from events import subjects
from pandar_daemon.adapters.nats import streams
from pandar_daemon.adapters.nats.connection import NatsConnection, NoResponders
from pandar_daemon.adapters.nats.jetstream import JetStream, JetStreamRefused, Outgoing
from pandar_daemon.adapters.nats.jetstream_api import PubAck
from pandar_daemon.domain.changes import Changes
from pandar_daemon.ports import Diff, DiffKey

log = structlog.get_logger(__name__)

PIECE_BYTES: Final = 2**18
WINDOW: Final = 8
BATCH: Final = 16
_OFFSET: Final = "Pandar-Offset"
_WHOLE: Final = "Pandar-Whole"


class NatsDiffs:
    """Writes and reads patches by one connection."""

    def __init__(
        self,
        connection: NatsConnection,
        *,
        replicas: int = 1,
        max_bytes: int = streams.DIFFS_MAX_BYTES,
    ) -> None:
        self._connection = connection
        self._js = JetStream(connection)
        self._wanted = streams.diffs(replicas, max_bytes)
        self._checked_at: float | None = None

    async def write(self, key: DiffKey, diff: Diff) -> None:
        """Store it durably; raises `Unavailable` when the bus is away: it may be stored."""
        await self._prepare()
        try:
            await self._js.store_all(_outgoing(key, diff), window=WINDOW, stored=_check)
        except NoResponders:
            self._checked_at = None
            raise

    async def read(self, key: DiffKey) -> Diff | None:
        """Return it whole, ``None`` when it is not there; raises `Unavailable`."""
        await self._prepare()
        subject = _subject(key)
        last = await self._js.last(subjects.DIFFS_STREAM, subject)
        if last is None or _WHOLE not in (last.headers or {}):
            return None
        try:
            changes = msgspec.json.decode(last.data, type=Changes)
        except msgspec.MsgspecError as error:
            log.warning("diff.garbage", subject=subject, error=str(error))
            return None
        patch = await self._patch(subject, changes.patch_bytes)
        return None if len(patch) != changes.patch_bytes else Diff(changes=changes, patch=patch)

    async def _patch(self, subject: str, size: int) -> bytes:
        """Return the bytes that are there, without a gap."""
        found, seq = bytearray(), 1
        while len(found) < size:
            batch = await self._js.direct(subjects.DIFFS_STREAM, subject, seq=seq, batch=BATCH)
            for msg in batch:
                seq = _number(msg, "Nats-Sequence") + 1
                if _number(msg, _OFFSET) == len(found):
                    found += msg.data
            if len(batch) < BATCH:
                break
        return bytes(found)

    async def _prepare(self) -> None:
        """Make the stream or set it right, once for each connection."""
        up_since = self._connection.up_since
        if up_since is None or self._checked_at != up_since:
            await self._js.ensure(self._wanted)
            self._checked_at = up_since


def _subject(key: DiffKey) -> str:
    return subjects.diff(key.project_id, key.task_id, key.checkpoint)


def _outgoing(key: DiffKey, diff: Diff) -> Iterator[Outgoing]:
    subject, patch = _subject(key), diff.patch
    changes = msgspec.structs.replace(diff.changes, patch_bytes=len(patch))
    name = f"{subject}-{changes.commit}"
    for offset in range(0, len(patch), PIECE_BYTES):
        headers = {_OFFSET: str(offset), "Nats-Msg-Id": f"{name}-{offset}"}
        yield Outgoing(subject=subject, body=patch[offset : offset + PIECE_BYTES], headers=headers)
    headers = {_WHOLE: str(len(patch)), "Nats-Msg-Id": f"{name}-whole"}
    yield Outgoing(subject=subject, body=msgspec.json.encode(changes), headers=headers)


def _check(ack: PubAck) -> None:
    if ack.error is not None:
        raise JetStreamRefused("diff", ack.error)


def _number(msg: Msg, header: str) -> int:
    value = (msg.headers or {}).get(header, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else -1  # noqa: PLR2004 - 64 bits
