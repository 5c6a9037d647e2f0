"""Events on their way from the log: to the bus by the relay, to read models by the projector."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import replace

from bench.distribution import Lag
from bench.figures import Figure, at_least, at_most, typical
from bench.lives import EVENTS, life, live
from bench.scale import Scale
from bench.site import Site
from events.envelope import Recorded
from pandar_daemon.adapters.postgres.event_store import PgEventStore
from pandar_daemon.adapters.postgres.views import PgViews
from pandar_daemon.ports import EventStream
from pandar_daemon.services.feed import Feed
from pandar_daemon.services.projector import Projector
from pandar_daemon.services.relay import Relay
from pandar_daemon.wiring.parts import Parts
from projections.models import MODELS
from tests.support.log import running

FILLERS = 64
REBUILDS = 3
WRITERS = 50


class Timed:
    """An `EventStream` that notes when the bus acknowledged which position."""

    def __init__(self, stream: EventStream, lag: Lag) -> None:
        self._stream = stream
        self.lag = lag
        self._moved = asyncio.Condition()
        self.acknowledged = 0

    @property
    def up_since(self) -> float | None:
        """Return when the bus was connected to."""
        return self._stream.up_since

    async def open(self, epoch: int) -> int:
        """Open the stream."""
        return await self._stream.open(epoch)

    async def last(self) -> int:
        """Return where it ends."""
        return await self._stream.last()

    async def stored(self, epoch: int, *, after: int, limit: int) -> list[Recorded]:
        """Read back."""
        return await self._stream.stored(epoch, after=after, limit=limit)

    async def publish(self, batch: Sequence[Recorded]) -> int:
        """Publish; the whole batch counts as acknowledged when its last event is."""
        self.acknowledged = await self._stream.publish(batch)
        self.lag.ended(self.acknowledged, time.perf_counter())
        async with self._moved:
            self._moved.notify_all()
        return self.acknowledged

    async def reached(self, position: int) -> None:
        """Return once a position was acknowledged."""
        async with self._moved:
            await self._moved.wait_for(lambda: self.acknowledged >= position)


class Bench:
    """The parts of a daemon that carry events, in this process, with a watch on them."""

    def __init__(self, made: Parts, database_url: str) -> None:
        self.to_bus, self.to_models = Lag(), Lag()
        store = PgEventStore(database_url, made.database, made.clock, committed=self._committed)
        self.made = replace(made, store=store, feed=Feed(made.live, store))
        self.stream = Timed(made.event_stream(), self.to_bus)
        self.projector = Projector(store, self.made.feed, PgViews(made.database))

    def _committed(self, position: int) -> None:
        at = time.perf_counter()
        self.to_bus.began(position, at)
        self.to_models.began(position, at)
        self.made.bell.ring(position)

    def relay(self) -> Relay:
        """Return a relay to the watched stream."""
        made = self.made
        return Relay(
            store=made.store,
            stream=self.stream,
            told=made.live,
            leadership=made.leadership,
            bell=made.bell,
            clock=made.clock,
            metrics=made.metrics,
            holder=made.holder,
        )

    async def watch(self) -> None:
        """Note when the read models have reached which position, until cancelled."""
        while True:
            await self.projector.reached(self.projector.position + 1)
            self.to_models.ended(self.projector.position, time.perf_counter())


async def measure(site: Site, scale: Scale) -> list[Figure]:
    """Return the figures of relay and projector: catching up, then live."""
    url = await site.create("flow")
    async with site.parts("flow") as made:
        bench = Bench(made, url)
        async with running(bench.made.store.run()):
            numbers = itertools.count(1)
            await _fill(bench, numbers, scale.log_tasks)
            return [
                *await _rebuild(bench, scale.log_tasks * EVENTS),
                *await _catch_up(bench, scale.log_tasks * EVENTS),
                *await _live(bench, numbers, scale),
            ]


async def _fill(bench: Bench, numbers: itertools.count[int], tasks: int) -> None:
    ids = iter(list(itertools.islice(numbers, tasks)))

    async def filler() -> None:
        for task_id in ids:
            await live(bench.made.store, task_id, 0, *life(task_id))

    async with asyncio.TaskGroup() as group:
        for _ in range(FILLERS):
            group.create_task(filler())


async def _rebuild(bench: Bench, events: int) -> list[Figure]:
    seconds: dict[str, float] = {}
    for name in MODELS:
        began = time.perf_counter()
        await bench.projector.rebuild(name)
        seconds[name] = time.perf_counter() - began
    rounds: list[float] = []
    for _ in range(REBUILDS):
        began = time.perf_counter()
        await bench.projector.rebuild_all(MODELS)
        rounds.append(time.perf_counter() - began)
    took = typical(rounds)
    each = ", ".join(f"{name} {events / took:,.0f}" for name, took in seconds.items())
    return [
        Figure(
            part="projector",
            what="rebuild of all read models",
            value=events / took,
            unit="events/s",
            goal=at_least(20_000),
            note=f"{events:,} events, indexes too, median of {REBUILDS}; one alone: {each}",
        )
    ]


async def _catch_up(bench: Bench, events: int) -> list[Figure]:
    began = time.perf_counter()
    async with running(bench.relay().run()):
        await bench.stream.reached(events)
    took = time.perf_counter() - began
    rate = events / took
    return [Figure(part="relay", what="catch-up of a lost stream", value=rate, unit="events/s")]


async def _live(bench: Bench, numbers: itertools.count[int], scale: Scale) -> list[Figure]:
    made = bench.made
    async with running(made.bell.run(), bench.relay().run(), bench.projector.run(), bench.watch()):
        await _write(bench, numbers, 1.0, scale.live_rate)  # until all is warm
        head = await _settled(bench)
        bench.to_bus, bench.to_models = _anew(bench, head)
        began = time.perf_counter()
        await _write(bench, numbers, scale.live_sec, scale.live_rate)
        head = await _settled(bench) - head
    rate = head / (time.perf_counter() - began)
    note = f"{rate:,.0f} events/s offered and taken, all of it in one process"
    acked, shown = bench.to_bus.taken, bench.to_models.taken
    return [
        _ms("relay", "commit → NATS ack p50", acked.p50, 5, note),
        _ms("relay", "commit → NATS ack p99", acked.p99, None, ""),
        _ms("projector", "commit → read models p50", shown.p50, None, ""),
        _ms("projector", "commit → read models p99", shown.p99, 50, note),
    ]


def _ms(part: str, what: str, seconds: float, bound: float | None, note: str) -> Figure:
    goal = None if bound is None else at_most(bound)
    return Figure(part=part, what=what, value=seconds * 1e3, unit="ms", goal=goal, note=note)


def _anew(bench: Bench, head: int) -> tuple[Lag, Lag]:
    fresh = Lag(), Lag()
    for lag in fresh:
        lag.skip(head)
    bench.stream.lag = fresh[0]
    return fresh


async def _write(bench: Bench, numbers: itertools.count[int], seconds: float, rate: int) -> None:
    """Let many tasks live, an event at a time, so that there are ``rate`` of them a second."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    pause = WRITERS / rate

    async def writer(nth: int) -> None:
        due = loop.time() + pause * nth / WRITERS
        while due < deadline:
            task_id = next(numbers)
            for version, event in enumerate(life(task_id)):
                await asyncio.sleep(due - loop.time())
                await live(bench.made.store, task_id, version, event)
                due += pause

    async with asyncio.TaskGroup() as group:
        for nth in range(WRITERS):
            group.create_task(writer(nth))


async def _settled(bench: Bench) -> int:
    head = await bench.made.store.head()
    async with asyncio.timeout(60):
        await bench.stream.reached(head.position)
        await bench.projector.reached(head.position)
        while bench.to_models.waiting:  # noqa: ASYNC110 - the watch is about to see it
            await asyncio.sleep(0.001)
    return head.position
