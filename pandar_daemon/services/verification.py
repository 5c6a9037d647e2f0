"""`pandar verify`: are the promises kept? Log dense, stream equal to log, read models its fold.

Only reads. While the daemon works the bus and the read models may be a moment behind; they are
given `PATIENCE_SEC` to catch up, and compared up to the position they are at.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from itertools import islice
from uuid import UUID

from msgspec import Struct

from events import codec
from events.envelope import Recorded
from events.ids import category_of, id_of
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.domain.task_state import Task, evolve, initial
from pandar_daemon.ports import (
    BusAudit,
    CheckpointLost,
    EventStore,
    Key,
    LogAudit,
    ServedRows,
    Views,
)
from pandar_daemon.ports.archive import Archive, Archived, ArchiveUnreadable
from pandar_daemon.services.claims import keys_of
from projections.base import ReadModel, fold
from projections.compare import differences
from projections.models import MODELS

BATCH = 1_000
PATIENCE_SEC = 10.0
LOOKS = 20
"""How often leases and log are compared while they move."""
SHOWN = 20

Progress = Callable[[str, int, int], None]
"""Told what is looked at, how far it is and how far there is to go."""


class Check(Struct, frozen=True, kw_only=True):
    """One question; ``ok`` is ``None`` when it could not be answered."""

    name: str
    ok: bool | None
    detail: str
    hint: str = ""


class VerifyReport(Struct, frozen=True, kw_only=True):
    """All answers."""

    checks: list[Check]


class Verification:
    """Compares everything with the log."""

    def __init__(
        self,
        *,
        store: EventStore,
        audit: LogAudit,
        bus: BusAudit,
        views: Views,
        served: ServedRows,
        progress: Progress,
        archive: Archive | None = None,
        secrets: Callable[[], Coroutine[object, object, Check]] | None = None,
    ) -> None:
        """Report to ``progress``; without ``archive`` only a log that has none is whole.

        ``secrets`` answers whether those that are stored can be opened.
        """
        self._store = store
        self._audit = audit
        self._bus = bus
        self._views = views
        self._served = served
        self._progress = progress
        self._archive = archive
        self._secrets = secrets

    async def run(self) -> VerifyReport:
        """Return the answer to every question; raises ``ConnectionError`` without the log."""
        checks = [
            await _answered("log", self._log()),
            await _answered("archive", self._archived()),
            await _answered("bus", self._stream()),
            await _answered("leases", self._claims()),
        ]
        if self._secrets is not None:
            checks.append(await _answered("sealed", self._secrets()))
        checks += [await _answered(name, self._model(MODELS[name])) for name in MODELS]
        return VerifyReport(checks=checks)

    async def _log(self) -> Check:
        head = await self._store.head()
        self._progress("log", 0, head.position)
        faults = await self._audit.faults()
        self._progress("log", head.position, head.position)
        return _check("log", faults, f"{head.position} events, dense, versions contiguous")

    async def _archived(self) -> Check:
        """Every file is what was written, and every manifest names the one before it."""
        ranges = await self._audit.archived()
        previous, faults = None, list[str]()
        for each in ranges:
            try:
                faults += await self._unlinked(each, previous, ranges[-1].span.last)
            except ArchiveUnreadable as error:
                faults.append(str(error))
            previous = each.sha256
        return _check("archive", faults, f"{len(ranges)} ranges, their files and their chain")

    async def _unlinked(self, each: Archived, previous: str | None, last: int) -> list[str]:
        """Return where a range is not the link it should be; raises `ArchiveUnreadable`."""
        if self._archive is None:
            raise ArchiveUnreadable(f"{each.manifest} is in an archive that is not given here")
        manifest = await self._archive.manifest(each)
        async for batch in self._archive.events(each):
            self._progress("archive", batch[-1].position, last)
        linked = (manifest.span, manifest.previous) == (each.span, previous)
        return [] if linked else [f"{each.manifest} does not follow the manifest before it"]

    async def _stream(self) -> Check:
        head = await self._store.head()
        position, faults = 0, list[str]()
        async for batch in self._history(head.position):
            stored = await self._stored(head.epoch, position, batch[-1].position)
            faults += _unlike(batch, stored)
            position = batch[-1].position
            self._progress("bus", position, head.position)
            if len(faults) > SHOWN:
                break
        ahead = await self._bus.stored(head.epoch, after=head.position, limit=1)
        beyond = (await self._store.head()).position
        faults += [
            f"the stream has {each.position} at its end, which the log has not there"
            for each in ahead
            if not head.position < each.position <= beyond
        ]
        return _check("bus", faults, f"{head.position} events, sequence = position")

    async def _stored(self, epoch: int, after: int, up_to: int) -> list[Recorded]:
        """Return what the stream has of these positions, waiting for a relay that is behind."""
        stored: list[Recorded] = []
        deadline = asyncio.get_running_loop().time() + PATIENCE_SEC
        while True:
            last = stored[-1].position if stored else after
            stored += await self._bus.stored(epoch, after=last, limit=up_to - last)
            done = bool(stored) and stored[-1].position >= up_to
            if done or asyncio.get_running_loop().time() > deadline:
                return [each for each in stored if each.position <= up_to]
            await asyncio.sleep(0.1)

    async def _history(self, up_to: int, *, after: int = 0) -> AsyncIterator[list[Recorded]]:
        position = after
        while position < up_to:
            batch = await self._store.read_all(after=position, limit=min(BATCH, up_to - position))
            if not batch:
                return
            position = batch[-1].position
            yield batch

    async def _claims(self) -> Check:
        """Leases and reserved keys are those of the live executions, at one moment."""
        tasks: dict[str, Task] = {}
        position, faults = 0, list[str]()
        for _ in range(LOOKS):
            head = (await self._store.head()).position
            leases, keys = await self._audit.held()
            still = (await self._store.head()).position == head
            await self._fold_tasks(tasks, position, head)
            position, faults = head, _unheld(tasks, leases, keys)
            if still or not faults:
                return _check("leases", faults, f"{len(leases)} leases, {len(keys)} keys")
        busy = "the log never stood still long enough to compare it with them"
        return Check(name="leases", ok=None, detail=busy, hint="try again in a quieter moment")

    async def _fold_tasks(self, tasks: dict[str, Task], after: int, up_to: int) -> None:
        async for batch in self._history(up_to, after=after):
            for each in batch:
                if category_of(each.stream) == "task" and (event := codec.decode(each)):
                    task = tasks.get(each.stream) or initial(int(id_of(each.stream)))
                    tasks[each.stream] = evolve(task, event)
            self._progress("leases", batch[-1].position, up_to)

    async def _model(self, model: ReadModel) -> Check:
        parked = [
            stream
            for at in await self._views.checkpoints()
            if at.live and at.model == model.name
            for stream in at.parked
        ]
        position, tables = await self._served.rows(model)
        history = [each async for batch in self._history(position) for each in batch]
        self._progress(model.name, position, position)
        faults = [f"{stream} is parked" for stream in parked]
        faults += islice(differences(fold(model, history), tables), SHOWN + 1)
        count = sum(map(len, tables.values()))
        return _check(model.name, faults, f"{count} rows are the fold of {position} events")


async def _answered(name: str, question: Coroutine[object, object, Check]) -> Check:
    """Return the answer to a question, whatever is found on the way; raises ``ConnectionError``."""
    try:
        return await question
    except ConnectionError:
        raise
    except Unavailable as error:
        return Check(name=name, ok=None, detail=str(error), hint="is NATS up?")
    except CheckpointLost as error:
        return Check(name=name, ok=None, detail=str(error), hint="is a projector up?")
    except Exception as error:  # noqa: BLE001 - damage may be of any kind, and is what is asked for
        return Check(name=name, ok=False, detail=f"cannot be read: {type(error).__name__}: {error}")


def _unheld(tasks: dict[str, Task], leases: dict[int, UUID], keys: set[Key]) -> list[str]:
    """Return where leases and keys are not those that the log says are held."""
    executions = {t.task_id: t.execution for t in tasks.values()}
    live = {n: execution.execution_id for n, execution in executions.items() if execution}
    wrong = {n for n, _ in live.items() ^ leases.items()}
    wanted = {key for task in tasks.values() for key in keys_of(task)}
    return [f"task {n}: lease and log disagree" for n in sorted(wrong)] + [
        f"{key.scope} {key.key}: held and log disagree" for key in sorted(wanted ^ keys)
    ]


def _unlike(batch: list[Recorded], stored: list[Recorded]) -> list[str]:
    found = {each.position: each for each in stored}
    return [
        f"position {each.position}: "
        + ("not on the bus" if each.position not in found else "differs on the bus")
        for each in batch
        if not _same(each, found.get(each.position))
    ]


def _same(wanted: Recorded, found: Recorded | None) -> bool:
    return found is not None and (wanted.event_id, wanted.type, bytes(wanted.data)) == (
        found.event_id,
        found.type,
        bytes(found.data),
    )


def _check(name: str, faults: list[str], fine: str) -> Check:
    if not faults:
        return Check(name=name, ok=True, detail=fine)
    more = f" (and more than {SHOWN - 1} others)" if len(faults) > SHOWN else ""
    return Check(name=name, ok=False, detail="; ".join(faults[:SHOWN]) + more)
