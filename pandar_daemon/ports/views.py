"""Where read models are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from projections.base import Change, ReadModel


class Checkpoint(Struct, frozen=True, kw_only=True):
    """How far a generation of a read model is.

    The one that is ``live`` is served; a greater generation is under construction, a smaller one
    is over. Of the ``parked`` streams it knows nothing after the event it could not take.
    """

    model: str
    generation: int
    version: int
    position: int
    live: bool
    parked: frozenset[str] = frozenset()


class Poison(Struct, frozen=True, kw_only=True):
    """An event a read model cannot take, and why."""

    stream: str
    position: int
    error: str


class Step(Struct, frozen=True, kw_only=True):
    """What the events up to ``position`` do to a read model.

    ``poison`` parks its streams; ``skipped`` counts the events left out of parked streams.
    """

    position: int
    changes: Sequence[Change] = ()
    poison: Sequence[Poison] = ()
    skipped: Mapping[str, int] = {}


class Move(Struct, frozen=True, kw_only=True):
    """A step of one generation, from where it is thought to be."""

    model: ReadModel
    at: Checkpoint
    step: Step


class CheckpointLost(Exception):
    """A generation is at another position, served no more, or gone: look again."""


class ChangeRefused(Exception):
    """The store cannot hold one of the changes; nothing was applied, of no move."""


class Views(Protocol):
    """Where read models live: generations side by side, one of each model being served."""

    async def checkpoints(self) -> list[Checkpoint]:
        """Return all generations there are."""
        ...

    async def begin(self, model: ReadModel, *, beside: int) -> Checkpoint:
        """Return the generation that follows ``beside`` (0: none), made empty if there is none.

        Whoever asks first makes it. It may be of a newer version, made by a newer release.
        """
        ...

    async def apply(self, moves: Sequence[Move]) -> list[Checkpoint]:
        """Apply all moves, checkpoints too, in one transaction; return the new checkpoints.

        The moves are of different generations; at least one. Raises `CheckpointLost`,
        `ChangeRefused`, or ``ConnectionError`` when the outcome is unknown: applying again is
        safe, for the checkpoints tell.
        """
        ...

    async def swap(self, model: ReadModel, at: Checkpoint) -> bool:
        """Finish a generation and serve it instead of the present one.

        False, and no harm done, while it is behind the one being served: catch up, then ask again.
        """
        ...

    async def discard(self, at: Checkpoint) -> bool:
        """Drop a generation that is over; false while readers are still on it: ask again later."""
        ...
