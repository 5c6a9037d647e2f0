"""A simulated process: its clock, its paths to the servers, what is wrong with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TypeVar
from uuid import UUID

from msgspec import Struct

from events.ids import uuid7
from tests.simulation.loop import WORLD, Node, VirtualLoop
from tests.simulation.trace import Trace

T = TypeVar("T")

BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
QUICK_SEC = (0.0002, 0.003)
SLOW_SEC = (0.05, 4.0)


class Trouble(Struct, kw_only=True):
    """What is wrong with a path now: the parts of all calls, or messages, that meet each fate."""

    away: bool = False
    lost: float = 0.0  # on the way there: nothing happened
    unanswered: float = 0.0  # on the way back: it happened
    slow: float = 0.0
    twice: float = 0.0


class Simulation:
    """What everything in a run shares."""

    def __init__(self, seed: str, loop: VirtualLoop, trace: Trace) -> None:
        self.loop = loop
        self.dice = Random(f"{seed}/world")
        self.trace = trace
        trace.time = loop.time

    def now(self) -> datetime:
        """Return the true time."""
        return BEGIN + timedelta(seconds=self.loop.time())

    def later(self, seconds: float, work: Callable[[], object]) -> asyncio.TimerHandle:
        """Let something happen in the world, whatever becomes of whoever asked for it."""
        return self.loop.call_later(seconds, work, context=WORLD.context)

    def span(self, trouble: Trouble) -> float:
        """Return how long one way takes."""
        slow = trouble.slow and self.dice.random() < trouble.slow
        return self.dice.uniform(*(SLOW_SEC if slow else QUICK_SEC))


class SimClock:
    """`Clock` of one process. Its wall clock may be wrong by ``skew_sec``."""

    def __init__(self, sim: Simulation) -> None:
        self.skew_sec = 0.0
        self._sim = sim

    def now(self) -> datetime:
        """Return what this process takes for the time."""
        return self._sim.now() + timedelta(seconds=self.skew_sec)

    def boottime(self) -> float:
        """Return seconds that no jump and no freeze touches."""
        return 1_000.0 + self._sim.loop.time()

    def new_id(self) -> UUID:
        """Return a UUIDv7 of this run."""
        return uuid7(int(self.now().timestamp() * 1000), self._sim.dice.randbytes(10))


def succeed(future: asyncio.Future[T], result: T) -> None:
    """Answer who asks, if they still do."""
    if not future.done():
        future.set_result(result)


def fail(future: asyncio.Future[T], error: Exception) -> None:
    """Answer who asks by an exception, if they still do."""
    if not future.done():
        future.set_exception(error)


class Path:
    """The way of one process to one server, and back; every failure is ``error``."""

    def __init__(
        self, sim: Simulation, name: str, trouble: Trouble, error: Callable[[str], Exception]
    ) -> None:
        self.trouble = trouble
        self._sim = sim
        self._name = name
        self._error = error
        self._asked: dict[asyncio.Future[object], None] = {}

    async def call(self, what: str, work: Callable[[], T]) -> T:
        """Let the server do something and return its result, or raise what it raised.

        Raises ``error`` when the outcome is unknown. Once asked, the server may do it even if the
        asker dies, or gives up.
        """
        future: asyncio.Future[T] = self._sim.loop.create_future()
        asked: asyncio.Future[object] = future  # type: ignore[assignment] # only ever failed there
        self._asked[asked] = None
        future.add_done_callback(lambda _: self._asked.pop(asked, None), context=WORLD.context)
        self._send(what, work, future)
        return await future

    def cut(self) -> None:
        """Fail all that is asked and not answered."""
        for future in list(self._asked):
            self._fail(future)

    def _send(self, what: str, work: Callable[[], T], future: asyncio.Future[T]) -> None:
        trouble, dice = self.trouble, self._sim.dice
        there = self._sim.span(trouble)
        if trouble.away or (trouble.lost and dice.random() < trouble.lost):
            self._sim.trace.add(self._name, what, "lost")
            self._sim.later(there, lambda: self._fail(future))
            return
        silent = bool(trouble.unanswered) and dice.random() < trouble.unanswered
        self._sim.later(there, lambda: self._serve(what, work, future, silent=silent))

    def _serve(
        self, what: str, work: Callable[[], T], future: asyncio.Future[T], *, silent: bool
    ) -> None:
        back = self._sim.span(self.trouble)
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - it is the asker's
            self._sim.trace.add(self._name, what, repr(error))
            failure = error
            self._sim.later(back, lambda: fail(future, failure))
            return
        self._sim.trace.add(self._name, what, "unanswered" if silent else "done")
        if silent:
            self._sim.later(back, lambda: self._fail(future))
        else:
            self._sim.later(back, lambda: succeed(future, result))

    def _fail(self, future: asyncio.Future[T]) -> None:
        fail(future, self._error("the simulated connection broke"))


class SimProcess:
    """One incarnation of a process: what dies with it."""

    def __init__(self, sim: Simulation, name: str) -> None:
        self.sim = sim
        self.name = name
        self.node = Node(name)
        self.clock = SimClock(sim)
        self.stop: asyncio.Event = asyncio.Event()
        self.main: asyncio.Task[None] | None = None
        self.died: list[Callable[[], None]] = []
        """What the world does when this process is gone: connections close, guardians kill."""

    @property
    def alive(self) -> bool:
        """Whether it has not died and not ended."""
        return not self.node.dead

    def kill(self) -> None:
        """SIGKILL."""
        if self.node.dead:
            return
        self.sim.loop.kill(self.node)
        for closes in self.died:
            closes()
