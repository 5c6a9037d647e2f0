"""A Postgres of ours, the read models' part: generations side by side, moved by compare-and-set.

Steps do not wait for the disk: a crash undoes the last of them, back to a commit that did.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from events.envelope import Recorded
from pandar_daemon.ports import ChangeRefused, Checkpoint, CheckpointLost, Move, Step
from projections.base import Append, ReadModel, Rows, _apply, fold
from projections.models import MODELS


class Generation(Struct, kw_only=True, eq=False):
    """One generation of a read model, its tables included."""

    model: ReadModel
    number: int
    version: int
    position: int = 0
    live: bool = False
    parked: frozenset[str] = frozenset()
    tables: dict[str, Rows] = {}

    def checkpoint(self) -> Checkpoint:
        """Return it as the port shows it."""
        return Checkpoint(
            model=self.model.name,
            generation=self.number,
            version=self.version,
            position=self.position,
            live=self.live,
            parked=self.parked,
        )


class ViewServer:
    """All generations there are."""

    def __init__(self) -> None:
        self._generations: list[Generation] = []
        self._unflushed: list[tuple[Generation, int]] = []

    def live(self, model: str) -> Generation | None:
        """Return the one being served."""
        return next((g for g in self._generations if g.model.name == model and g.live), None)

    def checkpoints(self) -> list[Checkpoint]:
        """Return all of them."""
        return [g.checkpoint() for g in self._generations]

    def begin(self, model: ReadModel, beside: int) -> Checkpoint:
        """Return the successor of a generation, made empty if there is none."""
        mine = [g for g in self._generations if g.model.name == model.name]
        after = [g for g in mine if g.version >= model.version and g.number > beside]
        if after:
            return after[-1].checkpoint()
        number = max((g.number for g in mine), default=0) + 1
        made = Generation(model=model, number=number, version=model.version)
        made.tables = {table.name: {} for table in model.tables}
        self._generations.append(made)
        self.flush()
        return made.checkpoint()

    def apply(self, moves: Sequence[Move]) -> list[Checkpoint]:
        """Apply all moves and move the checkpoints, or none."""
        found = [self.ready(move) for move in moves]
        for mine, move in zip(found, moves, strict=True):
            self._take(mine, move.step)
        return [mine.checkpoint() for mine in found]

    def ready(self, move: Move) -> Generation:
        """Return the generation a move is of; raises unless it can be applied now."""
        mine = self.find(move.at)
        at = move.at
        if mine is None or mine.position != at.position or (at.live and not mine.live):
            msg = f"{at.model} generation {at.generation} is not at {at.position} any more"
            raise CheckpointLost(msg)
        for change in move.step.changes:
            if isinstance(change, Append) and change.key in mine.tables[change.table]:
                raise ChangeRefused(f"{change.table} {change.key} is there")
        return mine

    def _take(self, mine: Generation, step: Step) -> None:
        shapes = {table.name: table for table in mine.model.tables}
        for change in step.changes:
            _apply(shapes[change.table], mine.tables[change.table], change)
        self._unflushed.append((mine, mine.position))
        mine.position = step.position
        mine.parked |= {poison.stream for poison in step.poison}

    def swap(self, at: Checkpoint) -> bool:
        """Serve a generation unless it is behind the one being served."""
        mine, live = self.find(at), self.live(at.model)
        if mine is None:
            msg = f"{at.model} generation {at.generation} was discarded"
            raise CheckpointLost(msg)
        if live is not None and live is not mine:
            if live.position > mine.position:
                return False
            live.live = False
        mine.live = True
        self.flush()
        return True

    def discard(self, at: Checkpoint) -> bool:
        """Drop one that is not served."""
        mine = self.find(at)
        if mine is not None and not mine.live:
            self._generations.remove(mine)
            self._unflushed = [each for each in self._unflushed if each[0] is not mine]
        return True

    def position(self) -> int:
        """Return up to where all live read models are complete."""
        live = [g.position for g in self._generations if g.live]
        return min(live) if len(live) >= len(MODELS) else 0

    def flush(self) -> None:
        """Take note of a commit that waited for the disk: what came before it is safe too."""
        self._unflushed.clear()

    def crash(self, kept: int, history: list[Recorded]) -> int:
        """Undo the steps after the first ``kept`` that were not flushed; return how many."""
        undone = self._unflushed[kept:]
        back: dict[int, tuple[Generation, int]] = {}
        for generation, before in undone:
            back.setdefault(id(generation), (generation, before))
        for generation, before in back.values():
            generation.position = before
            generation.tables = fold(generation.model, history[:before])
        self.flush()
        return len(undone)

    def find(self, at: Checkpoint) -> Generation | None:
        """Return the generation of a checkpoint, wherever it stands now."""
        for g in self._generations:
            if (g.model.name, g.number) == (at.model, at.generation):
                return g
        return None
