"""The projector: keeps read models in step with the log, and makes new generations beside them.

Model. Every read model has *generations*; one is live (served). Work goes in rounds; a round is
a set of generations, and ends when that set is another::

    survey ──▶ follow(live ones)     one feed, each batch to each, in step
           ├─▶ build(new one)  …     reads the log on its own, then asks to be swapped in
           └─▶ discard(over)         when no reader is on it any more
       ▲              │
       └── changed: a swap happened here, or the poll sees one (or a rebuild asked for) elsewhere

Exactly once. Changes and checkpoint move in one transaction, the checkpoint by compare-and-set.
Two projectors may do all of this at once: one of them moves a checkpoint, the other is told
`CheckpointLost`, looks where it is now, and goes on from there. Dying between any two steps
leaves a checkpoint that says exactly what was applied. A crash of the database may undo the last
steps, whose commits do not wait for the disk: then the log is read again from the checkpoint.

Failure. An event a model cannot take (``project`` raises, or the store refuses the row) parks its
stream: later events of it are skipped and counted, all others go on. A refused batch is cut in
half until the event stands alone. `Projector.rebuild` is the way back.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress

import structlog
from msgspec import Struct

from events.envelope import Recorded
from pandar_daemon.ports import (
    ChangeRefused,
    Checkpoint,
    CheckpointLost,
    EventStore,
    Poison,
    Step,
    Views,
)
from pandar_daemon.services.feed import Feed
from projections.base import Change, ReadModel, storable
from projections.models import MODELS

log = structlog.get_logger(__name__)

BATCH_MAX = 2_000
"""Events a transaction: large enough that its round trips do not count, small enough to be soon."""
POLL_SEC = 1.0
ERROR_MAX = 1_000
"""Characters kept of why an event was refused."""


class _Round(Struct, frozen=True):
    """The generations there are: those to follow, those to build, those that are over."""

    live: tuple[Checkpoint, ...]
    building: tuple[Checkpoint, ...]
    over: tuple[Checkpoint, ...]

    def names(self) -> set[tuple[str, int, bool]]:
        """Tell rounds apart whatever their positions."""
        return {(at.model, at.generation, at.live) for at in (*self.live, *self.building)}


class Projector:
    """Keeps ``models`` in step with the log; `run` must be running for anything to happen."""

    def __init__(
        self,
        store: EventStore,
        feed: Feed,
        views: Views,
        *,
        models: Mapping[str, ReadModel] = MODELS,
        seen: Callable[[str, int], None] = lambda _model, _position: None,
        poll_sec: float = POLL_SEC,
    ) -> None:
        """Follow ``feed``, build from ``store``; look for new generations every ``poll_sec``.

        ``seen`` hears the position of each model being served whenever it moved.
        """
        self._store = store
        self._feed = feed
        self._views = views
        self._models = models
        self._seen = seen
        self._poll_sec = poll_sec
        self._swapped = asyncio.Event()
        self._turn = asyncio.Lock()
        self._progress = asyncio.Condition()
        self._position = 0

    @property
    def position(self) -> int:
        """The position up to which all live read models were last seen complete."""
        return self._position

    async def reached(self, position: int) -> None:
        """Return once every live read model is complete up to a position."""
        async with self._progress:
            await self._progress.wait_for(lambda: self._position >= position)

    async def run(self) -> None:
        """Work until cancelled; what goes wrong is told, and tried again from the checkpoints."""
        while True:
            try:
                await self._round(await self._survey())
            except* Exception as group:  # noqa: BLE001 - checkpoints make every retry safe
                for error in _leaves(group):
                    log.warning("projector.outage", error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(self._poll_sec)

    async def rebuild(self, name: str) -> Checkpoint:
        """Make a new generation of a model and serve it; return once it is served.

        The present one is served meanwhile. A projector running elsewhere helps building it.
        Raises ``KeyError`` for a model this release does not have, `CheckpointLost` when a newer
        release serves it.
        """
        model = self._models[name]
        known = await self._views.checkpoints()
        served = max((at.generation for at in known if at.model == name and at.live), default=0)
        at = await self._views.begin(model, beside=served)
        if at.version != model.version:
            msg = f"{name} is served in version {at.version}, newer than {model.version}"
            raise CheckpointLost(msg)
        return await self._build(at)

    # --- rounds --------------------------------------------------------------------------------

    async def _survey(self) -> _Round:
        await self._begin_missing(await self._views.checkpoints())
        return self._sorted(await self._views.checkpoints())

    async def _begin_missing(self, known: list[Checkpoint]) -> None:
        served = {at.model: at for at in known if at.live}
        for model in self._models.values():
            live = served.get(model.name)
            if live is None or live.version < model.version:
                await self._views.begin(model, beside=live.generation if live else 0)

    def _sorted(self, known: list[Checkpoint]) -> _Round:
        mine = [at for at in known if at.model in self._models]
        served = {at.model: at.generation for at in mine if at.live}
        current = [at for at in mine if at.version == self._models[at.model].version]
        return _Round(
            live=tuple(at for at in current if at.live),
            building=tuple(at for at in current if at.generation > served.get(at.model, 0)),
            over=tuple(at for at in mine if at.generation < served.get(at.model, 0)),
        )

    async def _round(self, round_: _Round) -> None:
        self._swapped.clear()
        async with asyncio.TaskGroup() as group:
            tasks: list[asyncio.Task[object]] = [
                group.create_task(self._build(at)) for at in round_.building
            ]
            if round_.live:
                tasks.append(group.create_task(self._follow(round_.live)))
            await self._until_changed(round_)
            for task in tasks:
                task.cancel()

    async def _until_changed(self, round_: _Round) -> None:
        over = round_.over
        while True:
            for at in over:
                await self._views.discard(at)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_sec):
                    await self._swapped.wait()
            self._swapped.clear()
            seen = await self._survey()
            if seen.names() != round_.names():
                return
            over = seen.over

    # --- one generation ------------------------------------------------------------------------

    async def _follow(self, live: Iterable[Checkpoint]) -> None:
        at = {checkpoint.model: checkpoint for checkpoint in live}
        await self._tell(at.values())
        start = min(checkpoint.position for checkpoint in at.values())
        async with aclosing(self._feed.batches(start, BATCH_MAX)) as batches:
            async for batch in batches:
                async with self._turn, asyncio.TaskGroup() as group:
                    moved = [group.create_task(self._advance(one, batch)) for one in at.values()]
                at = {task.result().model: task.result() for task in moved}
                await self._tell(at.values())

    async def _build(self, at: Checkpoint) -> Checkpoint:
        model = self._models[at.model]
        at = await self._catch_up(at)
        served = await self._views.swap(model, at)  # indexing takes long: the others go on
        while not served:
            async with self._turn:  # here nobody moves the live one now, and it can be overtaken
                at = await self._catch_up(at)
                served = await self._views.swap(model, at)
            if not served:
                await asyncio.sleep(self._poll_sec)  # a projector elsewhere moved it
        self._swapped.set()
        return at

    async def _catch_up(self, at: Checkpoint) -> Checkpoint:
        full = True
        while full:
            batch = await self._store.read_all(after=at.position, limit=BATCH_MAX)
            at = await self._advance(at, batch)
            full = len(batch) == BATCH_MAX
        return at

    async def _tell(self, live: Collection[Checkpoint]) -> None:
        for at in live:
            self._seen(at.model, at.position)
        if {at.model for at in live} != set(self._models):
            return
        async with self._progress:
            self._position = min(at.position for at in live)
            self._progress.notify_all()

    async def _advance(self, at: Checkpoint, batch: Sequence[Recorded]) -> Checkpoint:
        """Bring a generation to the end of a batch, whoever applies it."""
        while rest := [recorded for recorded in batch if recorded.position > at.position]:
            try:
                at = await self._take(at, rest)
            except CheckpointLost:
                at = await self._look_again(at)
                if at.position < rest[0].position - 1:
                    raise ConnectionError(f"{at.model} fell back to {at.position}") from None
        return at

    async def _look_again(self, at: Checkpoint) -> Checkpoint:
        for seen in await self._views.checkpoints():
            if (seen.model, seen.generation) == (at.model, at.generation):
                return seen
        self._swapped.set()
        msg = f"{at.model} generation {at.generation} is gone"
        raise ConnectionError(msg)

    async def _take(self, at: Checkpoint, batch: Sequence[Recorded]) -> Checkpoint:
        step = _step(self._models[at.model], at.parked, batch)
        try:
            return await self._apply(at, step)
        except ChangeRefused as error:
            if len(batch) == 1:
                poison = _poison(batch[0], error)
                return await self._apply(at, Step(position=step.position, poison=[poison]))
        middle = len(batch) // 2
        at = await self._take(at, batch[:middle])
        return await self._take(at, batch[middle:])

    async def _apply(self, at: Checkpoint, step: Step) -> Checkpoint:
        at = await self._views.apply(self._models[at.model], at, step)
        for poison in step.poison:
            log.error(
                "projector.parked",
                model=at.model,
                stream=poison.stream,
                position=poison.position,
                error=poison.error,
            )
        return at


def _step(model: ReadModel, parked: frozenset[str], batch: Sequence[Recorded]) -> Step:
    """Return what a batch does, its poison set apart; nothing of a parked stream."""
    changes: list[Change] = []
    poison: dict[str, Poison] = {}
    skipped: Counter[str] = Counter()
    for recorded in batch:
        if recorded.stream in parked or recorded.stream in poison:
            skipped[recorded.stream] += 1
            continue
        try:
            changes += model.project(recorded)
        except Exception as error:  # noqa: BLE001 - whatever one event does, the others go on
            poison[recorded.stream] = _poison(recorded, error)
    return Step(
        position=batch[-1].position,
        changes=changes,
        poison=list(poison.values()),
        skipped=skipped,
    )


def _poison(recorded: Recorded, error: Exception) -> Poison:
    reason = storable(f"{type(error).__name__}: {error}"[:ERROR_MAX])
    reason = reason.encode("utf-8", "backslashreplace").decode()
    return Poison(stream=recorded.stream, position=recorded.position, error=reason)


def _leaves(group: BaseExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
