"""Bringing generations of read models to the end of a batch of events, each event exactly once.

``together`` moves many generations in one transaction: all of them or none. ``apart`` gives each
one of its own, side by side. Both end with every generation at the end of the batch, whoever took
it there: one that is elsewhere than thought is looked for, and goes on from where it is.

An event a model cannot take (``project`` raises, or the store refuses the row) parks its stream in
that model: later events of it are skipped and counted, all others go on. What was refused together
is tried apart, and cut in half until the event stands alone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import TypeVar

import structlog
from msgspec import Struct

from events import codec
from events.envelope import Recorded
from events.task import Event
from pandar_daemon.ports import (
    ChangeRefused,
    Checkpoint,
    CheckpointLost,
    Move,
    Poison,
    Step,
    Views,
)
from projections.base import Change, ReadModel, heard_types, storable

log = structlog.get_logger(__name__)

T = TypeVar("T")

ERROR_MAX = 1_000
"""Characters kept of why an event was refused."""


class Told(Struct, frozen=True, gc=False):
    """An event, read once for all models."""

    type: str
    recorded: Recorded
    event: Event | Exception | None
    """What it says, why it cannot be read, or nothing when its type is not known."""


def told(batch: Iterable[Recorded]) -> list[Told]:
    """Return the events of a batch, each decoded."""
    return [Told(recorded.type, recorded, _read(recorded)) for recorded in batch]


def _read(recorded: Recorded) -> Event | Exception | None:
    try:
        return codec.decode(recorded)
    except Exception as error:  # noqa: BLE001 - whatever one event does, the others go on
        return error


async def side_by_side(works: Iterable[Coroutine[object, object, T]]) -> list[T]:
    """Return what each gives; the first to fail ends the others, and what it raised is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except ExceptionGroup as failed:
        first = failed.exceptions[0]
        raise first from first.__cause__
    return [task.result() for task in tasks]


class Stepping:
    """Moves generations of ``models``, kept in ``views``."""

    def __init__(self, views: Views, models: Mapping[str, ReadModel]) -> None:
        self._views = views
        self._models = models

    async def together(self, live: Sequence[Checkpoint], batch: Sequence[Told]) -> list[Checkpoint]:
        """Bring generations to the end of a batch, in one transaction where that is possible.

        Raises ``ConnectionError`` when the outcome is unknown, or one of them is behind the batch
        or gone.
        """
        while moves := self._moves(live, batch):
            try:
                return _replaced(live, await self._apply(moves))
            except CheckpointLost:
                live = await self._look_again(live, batch)
            except ChangeRefused:
                return await self.apart(live, batch)
        return list(live)

    async def apart(self, at: Sequence[Checkpoint], batch: Sequence[Told]) -> list[Checkpoint]:
        """Bring generations to the end of a batch, each for itself; raises as `together`."""
        return await side_by_side([self._advance(one, batch) for one in at])

    def _moves(self, at: Sequence[Checkpoint], batch: Sequence[Told]) -> list[Move]:
        return [
            Move(model=self._models[one.model], at=one, step=self._step(one, rest))
            for one in at
            if (rest := _rest(one, batch))
        ]

    async def _advance(self, at: Checkpoint, batch: Sequence[Told]) -> Checkpoint:
        while rest := _rest(at, batch):
            try:
                at = await self._take(at, rest)
            except CheckpointLost:
                [at] = await self._look_again([at], batch)
        return at

    async def _look_again(
        self, lost: Sequence[Checkpoint], batch: Sequence[Told]
    ) -> list[Checkpoint]:
        known = {(at.model, at.generation): at for at in await self._views.checkpoints()}
        seen = [known.get((at.model, at.generation)) for at in lost]
        for was, at in zip(lost, seen, strict=True):
            if at is None:
                raise ConnectionError(f"{was.model} generation {was.generation} is gone")
            if at.position < batch[0].recorded.position - 1:
                raise ConnectionError(f"{at.model} fell back to {at.position}")
        return [at for at in seen if at is not None]

    async def _take(self, at: Checkpoint, batch: Sequence[Told]) -> Checkpoint:
        model, step = self._models[at.model], self._step(at, batch)
        try:
            return (await self._apply([Move(model=model, at=at, step=step)]))[0]
        except ChangeRefused as error:
            if len(batch) == 1:
                parked = Step(position=step.position, poison=[_poison(batch[0].recorded, error)])
                return (await self._apply([Move(model=model, at=at, step=parked)]))[0]
        middle = len(batch) // 2
        at = await self._take(at, batch[:middle])
        return await self._take(at, batch[middle:])

    async def _apply(self, moves: Sequence[Move]) -> list[Checkpoint]:
        moved = await self._views.apply(moves)
        for move in moves:
            for poison in move.step.poison:
                log.error(
                    "projector.parked",
                    model=move.at.model,
                    stream=poison.stream,
                    position=poison.position,
                    error=poison.error,
                )
        return moved

    def _step(self, at: Checkpoint, batch: Sequence[Told]) -> Step:
        """Return what a batch does, its poison set apart; nothing of a parked stream.

        Of that, what the model would have heard counts as skipped.
        """
        model = self._models[at.model]
        heard = heard_types(model)
        parked = set(at.parked)
        changes: list[Change] = []
        poison: list[Poison] = []
        skipped: Counter[str] = Counter()
        on = model.on
        for one in [one for one in batch if one.type in heard]:  # most models hear few of them
            recorded, event = one.recorded, one.event
            if parked and recorded.stream in parked:
                skipped[recorded.stream] += 1
            elif event is not None:
                try:
                    if isinstance(event, Exception):
                        raise event  # noqa: TRY301 - taken like what ``on`` raises
                    changes += on(recorded, event)
                except Exception as error:  # noqa: BLE001 - whatever it does, the others go on
                    poison.append(_poison(recorded, error))
                    parked.add(recorded.stream)
        return Step(
            position=batch[-1].recorded.position,
            changes=changes,
            poison=poison,
            skipped=skipped,
        )


def _rest(at: Checkpoint, batch: Sequence[Told]) -> Sequence[Told]:
    """Return what of a batch, which is dense, a generation has not had."""
    return batch[max(0, at.position + 1 - batch[0].recorded.position) :]


def _replaced(at: Sequence[Checkpoint], moved: Iterable[Checkpoint]) -> list[Checkpoint]:
    new = {one.model: one for one in moved}
    return [new.get(one.model, one) for one in at]


def _poison(recorded: Recorded, error: Exception) -> Poison:
    reason = storable(f"{type(error).__name__}: {error}"[:ERROR_MAX])
    reason = reason.encode("utf-8", "backslashreplace").decode()
    return Poison(stream=recorded.stream, position=recorded.position, error=reason)
