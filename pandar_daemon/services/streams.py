"""Streams folded to their present state, cached.

The cache is optimistic: a decision on a stale state cannot be appended, since the log compares the
version. So a stale state costs one more try and never an error: who refuses a command must have
looked at a fresh one.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

import msgspec
import structlog
from msgspec import Struct

from events import codec
from events.envelope import Recorded
from events.task import Event
from pandar_daemon.domain import project, task_state
from pandar_daemon.domain.project import Project
from pandar_daemon.domain.task_state import Task
from pandar_daemon.ports import Append, Clock, EventStore, Live

log = structlog.get_logger(__name__)

CACHE_MAX = 10_000
"""Streams kept in memory; the one used longest ago goes first."""

S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)


class InProject(Protocol):
    """The state of a stream; ``project_id`` is 0 for what is in no project."""

    @property
    def project_id(self) -> int:
        """Return the project it belongs to."""
        ...


class Kind(Struct, Generic[S], frozen=True):
    """How streams of one category, whose ids are numbers or UUIDs, are folded."""

    category: str
    initial: Callable[[Any], S]
    evolve: Callable[[S, Event], S]


TASK: Kind[Task] = Kind("task", task_state.initial, task_state.evolve)
PROJECT: Kind[Project] = Kind("project", project.initial, project.evolve)


class Loaded(Struct, Generic[S_co], frozen=True):
    """A stream at a version; ``cached`` when somebody else may have written to it since.

    ``correlation_id`` is that of its first event, ``traceparent`` that of the last one traced.
    """

    stream: str
    state: S_co
    version: int
    position: int
    read_at: float
    cached: bool = False
    correlation_id: str | None = None
    traceparent: str | None = None


class Streams:
    """Loads and remembers streams."""

    def __init__(self, store: EventStore, clock: Clock) -> None:
        """Read from ``store``."""
        self._store = store
        self._clock = clock
        self._cache: OrderedDict[str, Loaded[object]] = OrderedDict()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, kind: Kind[S], id_: int | UUID) -> AsyncIterator[None]:
        """Let one at a time, in this process, decide on a stream: together they would conflict."""
        lock = self._turns.setdefault(f"{kind.category}-{id_}", asyncio.Lock())
        async with lock:
            yield

    async def load(
        self, kind: Kind[S], id_: int | UUID, *, fresh: bool = False, max_age_sec: float = 600.0
    ) -> Loaded[S]:
        """Return a stream's state: from the log if ``fresh`` or older than ``max_age_sec``."""
        stream = f"{kind.category}-{id_}"
        known = self._cache.get(stream)
        now = self._clock.boottime()
        if known is not None and not fresh and now - known.read_at <= max_age_sec:
            self._cache.move_to_end(stream)
            return known  # type: ignore[return-value] # one stream is always of one kind
        recorded = await self._store.read_stream(stream)
        loaded = _folded(kind, stream, kind.initial(id_), recorded, now)
        self._remember(loaded)
        return loaded

    def begin(self, kind: Kind[S], id_: int | UUID) -> Loaded[S]:
        """Return the state of a stream whose id was never used, without a look at the log."""
        return Loaded(
            f"{kind.category}-{id_}",
            kind.initial(id_),
            version=0,
            position=0,
            read_at=self._clock.boottime(),
            cached=True,
        )

    def advance(self, loaded: Loaded[S], appended: Append, position: int, state: S) -> None:
        """Remember what an append made of a stream: its events, folded, are ``state`` now."""
        advanced = msgspec.structs.replace(
            loaded,
            state=state,
            version=loaded.version + len(appended.events),
            position=position,
            correlation_id=loaded.correlation_id or appended.correlation_id,
            traceparent=appended.traceparent or loaded.traceparent,
        )
        known = self._cache.get(loaded.stream)
        if known is None or known.version < advanced.version:
            self._remember(advanced)

    def known(self, stream: str) -> Loaded[object] | None:
        """Return what is remembered of a stream, without a look at the log."""
        return self._cache.get(stream)

    def forget(self, stream: str) -> None:
        """Read a stream anew next time."""
        self._cache.pop(stream, None)

    async def follow(self, live: Live) -> None:
        """Forget streams other processes wrote to, until cancelled. A hint: missing one is safe."""
        async with live.follow() as events:
            async for each in events:
                known = self._cache.get(each.stream)
                if known is not None and known.version < each.version:
                    self.forget(each.stream)

    def _remember(self, loaded: Loaded[S]) -> None:
        kept = msgspec.structs.replace(loaded, cached=True)
        self._cache[loaded.stream] = kept
        self._cache.move_to_end(loaded.stream)
        if len(self._cache) > CACHE_MAX:
            self._cache.popitem(last=False)


def _folded(
    kind: Kind[S], stream: str, state: S, recorded: Sequence[Recorded], now: float
) -> Loaded[S]:
    for each in recorded:
        event = codec.decode(each)
        state = state if event is None else kind.evolve(state, event)
    return Loaded(
        stream,
        state,
        version=len(recorded),
        position=recorded[-1].position if recorded else 0,
        read_at=now,
        correlation_id=recorded[0].correlation_id if recorded else None,
        traceparent=next((e.traceparent for e in reversed(recorded) if e.traceparent), None),
    )
