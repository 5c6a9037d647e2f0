"""A Postgres of ours, the log's part: what ``migrations`` promise of appends, leases and leads.

Every method is one statement: it happens at once and whole. What may go wrong on the way to it is
not its business. `append` is ``append_batch`` and ``append_one``, judgement for judgement.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Raw, Struct

from events import codec
from events.envelope import Recorded
from events.running import Held, LeaseState
from pandar_daemon.ports import (
    Append,
    Appended,
    Conflict,
    Fenced,
    Head,
    Key,
    KeyTaken,
    Lease,
    LeaseOp,
    Receipt,
    Replayed,
    Verdict,
)


class LeaseRow(Struct):
    """A row of ``leases``."""

    execution_id: UUID
    epoch: int
    runner_id: str
    expires_at: datetime
    begun: bool = False
    cancel: bool = False


class LogServer:
    """The log and what is decided in one transaction with it."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        """Judge leases by ``now``."""
        self.now = now
        self.events: list[Recorded] = []
        self.streams: dict[str, list[Recorded]] = defaultdict(list)
        self.receipts: dict[str, Receipt] = {}
        self.keys: dict[Key, str] = {}
        self.leases: dict[int, LeaseRow] = {}
        self.leaders: dict[str, tuple[str, datetime]] = {}
        self.rejected: list[tuple[str, str, str, str, bytes]] = []
        self.epoch = 1
        self.committed: Callable[[], None] = lambda: None
        """Told of every commit that waited for the disk."""
        self._numbers: dict[str, int] = defaultdict(int)

    # --- appending ---

    def append(self, items: Sequence[Append], ids: Sequence[UUID]) -> list[Verdict]:
        """Append each item whole or not at all; ``ids`` are those of all their events, in order."""
        verdicts = [self.judge(item) for item in items]
        first = 0
        for n, item in enumerate(items):
            if isinstance(verdicts[n], Appended):
                verdicts[n] = self._store(item, ids[first : first + len(item.events)])
            first += len(item.events)
        self.committed()
        return verdicts

    def judge(self, item: Append) -> Verdict:
        """Return the verdict on what is committed now; an `Appended` says where the stream is."""
        stream = self.streams.get(item.stream, [])
        if item.command_id in self.receipts:
            return Replayed(self.receipts[item.command_id])
        if len(stream) != item.expected_version:
            return Conflict(len(stream))
        if self.fenced(item):
            return Fenced()
        for key in item.reserve:
            if key in self.keys:
                return KeyTaken(key)
        return Appended(position=stream[-1].position if stream else 0, version=len(stream))

    def fenced(self, item: Append) -> bool:
        """Tell whether the lease is not what the item needs."""
        wanted = item.lease
        if wanted is None:
            return False
        row = self.leases.get(wanted.task_id)
        if wanted.op is LeaseOp.ACQUIRE:
            return row is not None
        if row is None or (row.execution_id, row.epoch) != (wanted.execution_id, wanted.epoch):
            return True
        if wanted.runner_id not in {"", row.runner_id}:
            return True
        return wanted.op is LeaseOp.EXPIRE and row.expires_at > self.now()

    def _store(self, item: Append, ids: Sequence[UUID]) -> Appended:
        stream = self.streams[item.stream]
        for event_id, event in zip(ids, item.events, strict=True):
            recorded = Recorded(
                position=len(self.events) + 1,
                stream=item.stream,
                version=len(stream) + 1,
                event_id=event_id,
                type=codec.name_of(event),
                schema_version=event.SCHEMA_VERSION,
                recorded_at=self.now(),
                actor=item.actor,
                project_id=item.project_id,
                command_id=item.command_id,
                correlation_id=item.correlation_id,
                causation_id=item.causation_id,
                traceparent=item.traceparent,
                data=Raw(codec.encode(event)),
            )
            stream.append(recorded)
            self.events.append(recorded)
        at = Appended(position=stream[-1].position if stream else 0, version=len(stream))
        self._keep(item, at)
        return at

    def _keep(self, item: Append, at: Appended) -> None:
        self.receipts[item.command_id] = Receipt(
            command_id=item.command_id,
            request_sha256=item.request_sha256,
            stream=item.stream,
            position=at.position,
            version=at.version,
            answer=item.answer,
        )
        for key in item.release:  # first: one statement frees only what was held before it
            if self.keys.get(key) == item.stream:
                del self.keys[key]
        self.keys.update(dict.fromkeys(item.reserve, item.stream))
        self._lease(item)

    def _lease(self, item: Append) -> None:
        change = item.lease
        if change is None:
            return
        if change.op is LeaseOp.ACQUIRE:
            self.leases[change.task_id] = LeaseRow(
                change.execution_id, change.epoch, change.runner_id, self._in(change.ttl_sec)
            )
        elif change.op in {LeaseOp.RELEASE, LeaseOp.EXPIRE}:
            del self.leases[change.task_id]
        elif change.op is LeaseOp.CANCEL:
            self.leases[change.task_id].cancel = True

    def _in(self, seconds: float) -> datetime:
        return self.now() + timedelta(seconds=seconds)

    # --- reading ---

    def read_stream(self, stream: str, after: int, up_to: int | datetime | None) -> list[Recorded]:
        """Return a stream's events after a version, up to a position or time."""
        found = []
        for each in self.streams.get(stream, [])[after:]:
            if isinstance(up_to, int) and each.position > up_to:
                break
            if isinstance(up_to, datetime) and each.recorded_at > up_to:
                break
            found.append(each)
        return found

    def read_all(self, after: int, limit: int) -> list[Recorded]:
        """Return events after a position."""
        return self.events[after : after + limit]

    def found(self, command_ids: Sequence[str]) -> list[Receipt]:
        """Return the receipts there are, in the order asked for."""
        return [self.receipts[each] for each in command_ids if each in self.receipts]

    def stored_under(self, command_id: str) -> UUID | None:
        """Return the id of the last event of a command, where its receipt says it stands."""
        position = self.receipts[command_id].position
        last = self.events[position - 1] if position else None
        return last.event_id if last is not None and last.command_id == command_id else None

    def head(self) -> Head:
        """Return the end of the log."""
        return Head(len(self.events), self.epoch)

    # --- leases, leads, numbers ---

    def renew(self, runner_id: str, held: Sequence[Held], ttl_sec: float) -> dict[UUID, LeaseState]:
        """Extend what the runner really holds; say of each what it is."""
        states = {lease.execution_id: LeaseState.LOST for lease in held}
        for lease in held:
            row = self.leases.get(lease.task_id)
            if row is None or row.runner_id != runner_id:
                continue
            if (row.execution_id, row.epoch) == (lease.execution_id, lease.epoch):
                row.expires_at, row.begun = self._in(ttl_sec), True
                states[lease.execution_id] = LeaseState.CANCEL if row.cancel else LeaseState.HELD
        self.committed()
        return states

    def expired(self) -> list[Lease]:
        """Return the leases past their expiry, the oldest first."""
        late = [
            (row.expires_at, n) for n, row in self.leases.items() if row.expires_at < self.now()
        ]
        return [
            Lease(
                task_id=n,
                execution_id=self.leases[n].execution_id,
                epoch=self.leases[n].epoch,
                runner_id=self.leases[n].runner_id,
                begun=self.leases[n].begun,
            )
            for _, n in sorted(late)
        ]

    def lead(self, role: str, holder: str, ttl_sec: float) -> bool:
        """Take or extend the lead of a role."""
        other, until = self.leaders.get(role, ("", self.now()))
        if other not in {"", holder} and until >= self.now():
            return False
        self.leaders[role] = (holder, self._in(ttl_sec))
        self.committed()
        return True

    def resign(self, role: str, holder: str) -> None:
        """Give the lead up, if held."""
        if self.leaders.get(role, ("",))[0] == holder:
            del self.leaders[role]

    def number(self, category: str) -> int:
        """Return the next id."""
        self._numbers[category] += 1
        return self._numbers[category]
