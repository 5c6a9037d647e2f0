"""The projector: keeps read models in step with the log, and makes new generations beside them.

Model. Every read model has *generations*; one is live (served). Work goes in rounds; a round is
a set of generations, and ends when that set is another::

    survey ──▶ follow(live ones)      one feed, each batch to all of them in one transaction
           ├─▶ build(new ones)        reads the log on its own, then asks to be swapped in
           └─▶ discard(over)          when no reader is on it any more
       ▲              │
       └── changed: a swap happened here, or the poll sees one (or a rebuild asked for) elsewhere

Exactly once. Changes and checkpoints move in one transaction, the checkpoints by compare-and-set.
Two projectors may do all of this at once: one of them moves a checkpoint, the other is told
`CheckpointLost`, looks where it is now, and goes on from there. Dying between any two steps
leaves checkpoints that say exactly what was applied. A crash of the database may undo the last
steps, whose commits do not wait for the disk: then the log is read again from the checkpoints.

Pace. What comes after a pause is applied at once. Under load a transaction begins every `PACE_SEC`,
and takes all that came meanwhile: many small tasks cost few transactions.

Failure. A poison event parks its stream in the model that cannot take it, see `stepping`.
`Projector.rebuild` is the way back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import aclosing

import structlog
from msgspec import Struct

from pandar_daemon.domain.groups import leaves
from pandar_daemon.ports import Checkpoint, CheckpointLost, EventStore, Views
from pandar_daemon.services.feed import Feed
from pandar_daemon.services.lifecycle import heed_cancellation
from pandar_daemon.services.pace import Pace
from pandar_daemon.services.pauses import moment
from pandar_daemon.services.rebuilding import Rebuilding
from pandar_daemon.services.stepping import Stepping, side_by_side, told
from projections.base import ReadModel
from projections.models import MODELS

log = structlog.get_logger(__name__)

BATCH_MAX = 2_000
"""Events a transaction: large enough that its round trips do not count, small enough to be soon."""
PACE_SEC = 0.020
"""Between the beginnings of two live transactions, on average: the promise is 50 ms from event to
read model, of which the way over the bus and the transaction itself take less than 30."""
POLL_SEC = 1.0


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
        pace: Pace | None = None,
    ) -> None:
        """Follow ``feed`` at a ``pace``, build from ``store``.

        Look for new generations every ``poll_sec``.

        ``seen`` hears the position of each model being served whenever it moved.
        """
        self._feed = feed
        self._views = views
        self._models = models
        self._stepping = Stepping(views, models)
        self._rebuilding = Rebuilding(store, self._stepping)
        self._seen = seen
        self._poll_sec = poll_sec
        self._pace = pace or Pace(PACE_SEC)
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
            except Exception as failed:  # noqa: BLE001 - checkpoints make every retry safe
                for error in leaves(failed):
                    log.warning("projector.outage", error=f"{type(error).__name__}: {error}")
                heed_cancellation()
                await asyncio.sleep(self._poll_sec)

    async def rebuild(self, name: str) -> Checkpoint:
        """Make a new generation of a model and serve it; see `rebuild_all`."""
        return (await self.rebuild_all([name]))[0]

    async def rebuild_all(
        self,
        names: Collection[str],
        built: Callable[[str, int], None] = lambda _model, _position: None,
    ) -> list[Checkpoint]:
        """Make new generations of models and serve them; return once all are served.

        The log is read once for all of them; ``built`` hears how far each is. The present ones
        are served meanwhile. A projector running elsewhere helps building. Raises ``KeyError`` for
        a model this release does not have, `CheckpointLost` when a newer release serves it.
        """
        known = await self._views.checkpoints()
        begun = [await self._begin(self._models[name], known) for name in names]
        return await self._build(begun, built)

    async def _begin(self, model: ReadModel, known: Collection[Checkpoint]) -> Checkpoint:
        live = (at.generation for at in known if at.model == model.name and at.live)
        at = await self._views.begin(model, beside=max(live, default=0))
        if at.version != model.version:
            msg = f"{model.name} is served in version {at.version}, newer than {model.version}"
            raise CheckpointLost(msg)
        return at

    # --- rounds --------------------------------------------------------------------------------

    async def _survey(self) -> _Round:
        known = await self._views.checkpoints()
        if await self._begin_missing(known):
            known = await self._views.checkpoints()
        return self._sorted(known)

    async def _begin_missing(self, known: list[Checkpoint]) -> bool:
        """Begin what is not served in its version; return whether anything was not."""
        served = {at.model: at for at in known if at.live}
        missing = [
            (model, served.get(model.name))
            for model in self._models.values()
            if model.name not in served or served[model.name].version < model.version
        ]
        for model, live in missing:
            await self._views.begin(model, beside=live.generation if live else 0)
        return bool(missing)

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
            tasks: list[asyncio.Task[object]] = []
            if round_.building:
                tasks.append(group.create_task(self._build(round_.building)))
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
            await moment(self._swapped, self._poll_sec)
            seen = await self._survey()
            if seen.names() != round_.names():
                return
            over = seen.over

    # --- generations ---------------------------------------------------------------------------

    async def _follow(self, live: Sequence[Checkpoint]) -> None:
        await self._tell(live)
        start = min(at.position for at in live)
        async with aclosing(self._feed.batches(start, BATCH_MAX)) as batches:
            async for batch in batches:
                async with self._turn:
                    live = await self._stepping.together(live, told(batch))
                if not all(at.live for at in live):  # others are served, swapped elsewhere
                    self._swapped.set()
                    return
                await self._tell(live)
                if len(batch) < BATCH_MAX:
                    await self._pace.kept()

    async def _build(
        self,
        begun: Sequence[Checkpoint],
        built: Callable[[str, int], None] = lambda _model, _position: None,
    ) -> list[Checkpoint]:
        at = {one.model: one for one in await self._catch_up(begun, built)}
        behind = await self._swap(at.values())  # indexing takes long: the others go on
        while behind:
            async with self._turn:  # here nobody moves the live ones now: they can be overtaken
                at |= {one.model: one for one in await self._catch_up(behind, built)}
                behind = await self._swap([at[one.model] for one in behind])
            if behind:
                await asyncio.sleep(self._poll_sec)  # a projector elsewhere moved one
        self._swapped.set()
        return list(at.values())

    async def _catch_up(
        self, at: Sequence[Checkpoint], built: Callable[[str, int], None]
    ) -> Sequence[Checkpoint]:
        return await self._rebuilding.catch_up(at, BATCH_MAX, built)

    async def _swap(self, at: Collection[Checkpoint]) -> list[Checkpoint]:
        """Serve generations, indexing them side by side; return those behind the live ones."""
        served = await side_by_side([self._views.swap(self._models[one.model], one) for one in at])
        return [one for one, is_served in zip(at, served, strict=True) if not is_served]

    async def _tell(self, live: Collection[Checkpoint]) -> None:
        for at in live:
            self._seen(at.model, at.position)
        if {at.model for at in live} != set(self._models):
            return
        async with self._progress:
            self._position = min(at.position for at in live)
            self._progress.notify_all()
