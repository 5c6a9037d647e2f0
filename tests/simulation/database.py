"""The ports over the database, each call through a path that may break."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from itertools import takewhile
from typing import TypeVar
from uuid import UUID

import asyncpg

from events.envelope import Recorded
from events.running import Held, LeaseState
from events.task import Json
from pandar_daemon.adapters.postgres.append_statement import Statement
from pandar_daemon.adapters.postgres.lane import Lane
from pandar_daemon.adapters.postgres.writer import Writer
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import (
    Append,
    Appended,
    Checkpoint,
    Clock,
    Head,
    Lease,
    Move,
    Receipt,
    Replayed,
    Verdict,
)
from projections.base import ReadModel, Row
from tests.simulation.log_server import LogServer
from tests.simulation.node import Path
from tests.simulation.view_server import ViewServer

T = TypeVar("T")

SHARE_MIN = 2
"""So few already make the writer begin a second batch beside another: it is to happen often."""


class SimLane(Lane):
    """A lane of the daemon's own writer, retries and all; only its statement is ours."""

    def __init__(
        self, server: LogServer, path: Path, clock: Clock, committed: Callable[[int], None]
    ) -> None:
        super().__init__("", clock, committed=committed, written=lambda _count, _seconds: None)
        self._server = server
        self._path = path

    async def _send(self, items: Sequence[Append], append: Statement) -> list[Verdict]:
        what = f"append {' '.join(item.command_id for item in items)}"
        verdicts = await self._ask(what, lambda: self._server.append(items, append.ids))
        for n, verdict in enumerate(verdicts):
            if isinstance(verdict, Replayed):
                verdicts[n] = await self._echoed(verdict.receipt, append.ids)
        last = max((v.position for v in verdicts if isinstance(v, Appended)), default=0)
        if last:
            self._committed(last)
        return verdicts

    async def _echoed(self, receipt: Receipt, ids: Sequence[UUID]) -> Verdict:
        stored = await self._ask("echo", lambda: self._server.stored_under(receipt.command_id))
        if stored in ids:
            return Appended(position=receipt.position, version=receipt.version)
        return Replayed(receipt)

    async def _ask(self, what: str, work: Callable[[], T]) -> T:
        try:
            return await self._path.call(what, work)
        except ConnectionError as error:
            raise asyncpg.PostgresConnectionError(str(error)) from error


class SimStore:
    """`EventStore`."""

    lane = SimLane

    def __init__(
        self, server: LogServer, path: Path, clock: Clock, committed: Callable[[int], None]
    ) -> None:
        self._server = server
        self._path = path
        lane = partial(self.lane, server, path, clock, committed)
        self._writer = Writer(lane, clock, share_min=SHARE_MIN)
        self.run = self._writer.run

    async def append(self, item: Append) -> Verdict:
        """See `EventStore.append`."""
        return await self._writer.append(item)

    async def read_stream(
        self, stream: str, *, after_version: int = 0, up_to: int | datetime | None = None
    ) -> list[Recorded]:
        """See `EventStore.read_stream`."""
        found = await self._path.call(
            f"read {stream}", lambda: self._server.read_stream(stream, after_version, up_to)
        )
        numbered = enumerate(found, after_version + 1)
        return [each for _, each in takewhile(lambda one: one[1].version == one[0], numbered)]

    async def read_all(self, *, after: int, limit: int) -> list[Recorded]:
        """See `EventStore.read_all`."""
        return await self._path.call(
            f"read_all {after}", lambda: self._server.read_all(after, limit)
        )

    async def receipts(self, command_ids: Sequence[str]) -> list[Receipt]:
        """See `EventStore.receipts`."""
        return await self._path.call("receipts", lambda: self._server.found(command_ids))

    async def head(self) -> Head:
        """See `EventStore.head`."""
        return await self._path.call("head", self._server.head)


class SimLeases:
    """`Leases`, `Leadership` and `Rejections`."""

    def __init__(self, server: LogServer, path: Path) -> None:
        self._server = server
        self._path = path

    async def renew(
        self, runner_id: str, held: Sequence[Held], ttl_sec: float
    ) -> dict[UUID, LeaseState]:
        """See `Leases.renew`."""
        return await self._path.call(
            f"renew {len(held)}", lambda: self._server.renew(runner_id, held, ttl_sec)
        )

    async def expired(self) -> tuple[list[Lease], datetime]:
        """See `Leases.expired`."""
        return await self._path.call(
            "expired", lambda: (self._server.expired(), self._server.now())
        )

    async def acquire(self, role: str, holder: str, ttl_sec: float) -> bool:
        """See `Leadership.acquire`."""
        return await self._path.call(
            f"lead {role}", lambda: self._server.lead(role, holder, ttl_sec)
        )

    async def resign(self, role: str, holder: str) -> None:
        """See `Leadership.resign`."""
        await self._path.call(f"resign {role}", lambda: self._server.resign(role, holder))

    async def keep(
        self, *, stream: str, command_id: str, actor: str, reason: str, body: bytes
    ) -> None:
        """See `Rejections.keep`."""
        kept = (stream, command_id, actor, reason, body)
        await self._path.call("reject", lambda: self._server.rejected.append(kept))


class SimNumbers:
    """`Numbers`, a few at a time."""

    _BLOCK = 16

    def __init__(self, server: LogServer, path: Path) -> None:
        self._server = server
        self._path = path
        self._ready: deque[int] = deque()

    async def next(self, category: str) -> int:
        """See `Numbers.next`."""
        if category != "task":
            return await self._path.call("number", lambda: self._server.number(category))
        if not self._ready:
            self._ready.extend(
                await self._path.call(
                    "numbers", lambda: [self._server.number("task") for _ in range(self._BLOCK)]
                )
            )
        return self._ready.popleft()


class SimViews:
    """`Views`."""

    def __init__(self, server: ViewServer, path: Path) -> None:
        self._server = server
        self._path = path

    async def checkpoints(self) -> list[Checkpoint]:
        """See `Views.checkpoints`."""
        return await self._path.call("checkpoints", self._server.checkpoints)

    async def begin(self, model: ReadModel, *, beside: int) -> Checkpoint:
        """See `Views.begin`."""
        return await self._path.call(
            f"begin {model.name}", lambda: self._server.begin(model, beside)
        )

    async def apply(self, moves: Sequence[Move]) -> list[Checkpoint]:
        """See `Views.apply`."""
        what = " ".join(f"{m.at.model} {m.at.position} {m.step.position}" for m in moves)
        return await self._path.call(f"apply {what}", lambda: self._server.apply(moves))

    async def swap(self, model: ReadModel, at: Checkpoint) -> bool:
        """See `Views.swap`."""
        return await self._path.call(f"swap {model.name}", lambda: self._server.swap(at))

    async def discard(self, at: Checkpoint) -> bool:
        """See `Views.discard`."""
        return await self._path.call("discard", lambda: self._server.discard(at))


class SimReads:
    """`WorkQueue`, and of `ProjectReads` what the daemon's core asks for."""

    def __init__(self, log: LogServer, views: ViewServer, path: Path, clock: Clock) -> None:
        self._log = log
        self._views = views
        self._path = path
        self._clock = clock

    async def candidates(self, *, limit: int) -> list[int]:
        """See `WorkQueue.candidates`."""
        now = self._clock.now()
        return await self._read("candidates", lambda: self._candidates(now)[:limit])

    async def due(self, *, limit: int) -> list[tuple[int, datetime]]:
        """See `WorkQueue.due`."""
        now = self._clock.now()
        return await self._read("due", lambda: self._due(now)[:limit])

    async def expired_confirmations(self, *, limit: int) -> list[tuple[int, UUID]]:
        """See `WorkQueue.expired_confirmations`."""
        now = self._clock.now()
        return await self._read("late", lambda: self._late(now)[:limit])

    async def position(self) -> int:
        """See `ProjectReads.position`."""
        return await self._read("position", self._views.position)

    async def page(self, projects: frozenset[int] | None) -> list[Json]:
        """Nobody in the simulation lists projects."""
        raise NotImplementedError(projects)

    async def get(self, project_id: int) -> Json | None:
        """Nobody in the simulation shows a project."""
        raise NotImplementedError(project_id)

    async def roles(self, user: str) -> dict[int, str]:
        """Nobody in the simulation shows a person."""
        raise NotImplementedError(user)

    async def _read(self, what: str, work: Callable[[], T]) -> T:
        try:
            return await self._path.call(what, work)
        except ConnectionError as error:
            raise Unavailable("the database is away") from error

    def _tasks(self) -> list[Row]:
        live = self._views.live("tasks")
        if live is None:
            raise Unavailable("the read models are being made; they will be there soon")
        return [row for row in live.tables["tasks"].values() if not row["deleted"]]

    def _candidates(self, now: datetime) -> list[int]:
        held = {key.key for key in self._log.keys if key.scope == "concurrency"}
        ready = [
            (-rank, queued_at, task_id)
            for row in self._tasks()
            if row["status"] == "pending" and row["status_reason"] in {"queued", "retry_at"}
            if not isinstance(row["not_before"], datetime) or row["not_before"] <= now
            if f"{row['project_id']}:{row['concurrency_key']}" not in held
            if isinstance(rank := row["priority_rank"], int)
            if isinstance(queued_at := row["queued_at"], datetime)
            if isinstance(task_id := row["id"], int)
        ]
        return [task_id for _, _, task_id in sorted(ready)]

    def _due(self, now: datetime) -> list[tuple[int, datetime]]:
        return sorted(
            (
                (task_id, at)
                for row in self._tasks()
                if row["status"] == "pending" and row["status_reason"] is None
                if isinstance(at := row["scheduled_at"], datetime)
                if isinstance(task_id := row["id"], int)
                if at <= now
            ),
            key=lambda pair: (pair[1], pair[0]),
        )

    def _late(self, now: datetime) -> list[tuple[int, UUID]]:
        late = [
            (at, task_id, confirmation)
            for row in self._tasks()
            if row["status"] == "waiting_confirmation"
            if isinstance(at := row["confirmation_expires_at"], datetime)
            if isinstance(task_id := row["id"], int)
            if isinstance(confirmation := row["confirmation_id"], UUID)
            if at <= now
        ]
        return [(task_id, confirmation) for _, task_id, confirmation in sorted(late)]
