"""Everything of Pandar as simulated processes: the services unchanged, wired as ``wiring`` does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path as Folder
from typing import Final

from msgspec import Struct

from pandar_daemon.adapters.disk.folders import DataFolders
from pandar_daemon.services.arrivals import Arrivals
from pandar_daemon.services.asking import Asker
from pandar_daemon.services.bell import Bell
from pandar_daemon.services.commands import Commands
from pandar_daemon.services.dispatcher import Dispatcher
from pandar_daemon.services.endings import Endings
from pandar_daemon.services.endpoint import Endpoint
from pandar_daemon.services.feed import Feed
from pandar_daemon.services.giving import Giver
from pandar_daemon.services.lifecycle import Run, run_until
from pandar_daemon.services.projector import Projector
from pandar_daemon.services.reaper import Reaper
from pandar_daemon.services.relay import Relay
from pandar_daemon.services.requests import Requests
from pandar_daemon.services.runner import Runner
from pandar_daemon.services.scheduler import Scheduler
from pandar_daemon.services.signals import Signals
from pandar_daemon.services.streams import Streams
from pandar_daemon.telemetry import Metrics
from tests.simulation.bus import (
    SimDoor,
    SimEventStream,
    SimLive,
    SimOutputs,
    SimSender,
    SimVerifier,
    SimWire,
)
from tests.simulation.bus_server import BusServer, Link
from tests.simulation.database import (
    SimLeases,
    SimNumbers,
    SimReads,
    SimStore,
    SimViews,
)
from tests.simulation.hosts import Machine, NoAgents, NoGrants
from tests.simulation.log_server import LogServer
from tests.simulation.loop import WORLD
from tests.simulation.node import Path, SimProcess, Simulation, Trouble
from tests.simulation.view_server import ViewServer
from tests.support.history import Effect

TTL_SEC: Final = 8.0
SLOTS: Final = 4
PROCESSES: Final = (
    "commands-1",
    "commands-2",
    "relay-1",
    "relay-2",
    "projector-1",
    "projector-2",
    "runner-1",
    "runner-2",
    "reaper-1",
    "reaper-2",
)
Service = tuple[str, Run]


class Rules(Struct, frozen=True, kw_only=True):
    """What the processes are made of; a test swaps one for something broken."""

    log: type[LogServer] = LogServer
    views: type[ViewServer] = ViewServer
    bus: type[BusServer] = BusServer
    store: type[SimStore] = SimStore
    machine: type[Machine] = Machine
    reaper: type[Reaper] = Reaper
    runner: type[Runner] = Runner


class Troubles(Struct):
    """What is wrong with the paths of one process, whatever its incarnation."""

    database: Trouble
    bus: Trouble


class Parts:
    """What one process is made of; as `wiring.parts`."""

    def __init__(self, site: Site, process: SimProcess, troubles: Troubles) -> None:
        self.site = site
        self.process = process
        self.clock = process.clock
        self.metrics = Metrics()
        self.link: Link = site.bus.connect(process, troubles.bus)
        self.database = Path(process.sim, f"{process.name} db", troubles.database, ConnectionError)
        self.wire = SimWire(site.bus, self.link)
        self.sender = SimSender(site.bus, self.link)
        self.live = SimLive(self.link)
        self.bell = Bell(self.wire)
        self.store = site.rules.store(site.log, self.database, self.clock, self.bell.ring)
        self.feed = Feed(self.live, self.store)
        self.leases = SimLeases(site.log, self.database)
        self.reads = SimReads(site.log, site.views, self.database, self.clock)
        self.holder = f"{process.name}-{self.clock.new_id().hex}"

    def asker(self, user: str, role: str) -> Asker:
        """Return an asker that speaks as somebody."""
        return Asker(self.sender, lambda: f"{role}:{user}")


class Site:
    """All processes, all servers."""

    def __init__(self, sim: Simulation, folder: Folder, rules: Rules) -> None:
        self.sim = sim
        self.rules = rules
        self.log = rules.log(sim.now)
        self.views = rules.views()
        self.bus = rules.bus(sim)
        self.log.committed = self.views.flush
        self.effects: list[Effect] = []
        self.faults: list[str] = []
        self.machines = {
            name: rules.machine(sim, folder / name, self._done)
            for name in PROCESSES
            if name.startswith("runner")
        }
        self.troubles = {name: Troubles(Trouble(), Trouble()) for name in (*PROCESSES, "people")}
        self.processes: dict[str, SimProcess] = {}
        self.parts: dict[str, Parts] = {}

    def _done(self, effect: Effect) -> None:
        """Take note of what a program does; the lease must be its own at this very moment."""
        self.sim.trace.add("effect", effect.execution_id, effect.what)
        self.effects.append(effect)
        lease = self.log.leases.get(effect.task_id)
        if lease is None or lease.execution_id != effect.execution_id:
            self.faults.append(f"effect: {effect.what} of {effect.execution_id} without a lease")

    # --- processes ---

    def start(self, name: str) -> None:
        """Start a process, unless it runs."""
        if name in self.processes and self.processes[name].alive:
            return
        process = SimProcess(self.sim, name)
        self.processes[name] = process
        self.parts[name] = parts = Parts(self, process, self.troubles[name])
        process.died.append(parts.database.cut)
        services = [*_ROLES[name.partition("-")[0]](parts), ("bell", parts.bell.run)]
        self.sim.trace.add(name, "starts")
        process.main = self.sim.loop.start(process.node, run_until(process.stop, services))
        process.main.add_done_callback(
            lambda main: self._ended(process, main), context=WORLD.context
        )

    def _ended(self, process: SimProcess, main: asyncio.Task[None]) -> None:
        if not process.stop.is_set() or main.exception() is not None:
            self.faults.append(f"process: {process.name} ended: {main.exception()!r}")
        process.kill()

    def kill(self, name: str) -> None:
        """SIGKILL a process, if it runs."""
        if name in self.processes:
            self.sim.trace.add(name, "is killed")
            self.processes[name].kill()

    def stop(self, name: str) -> None:
        """SIGTERM a process."""
        self.sim.trace.add(name, "is stopped")
        self.processes[name].stop.set()

    def crash_database(self) -> None:
        """Restart Postgres: connections break, and the last steps of read models are undone."""
        undone = self.views.crash(self.sim.dice.randrange(4), self.log.events)
        self.sim.trace.add("database crashes", undone)
        for parts in self.parts.values():
            parts.database.cut()


def _commands(parts: Parts) -> list[Service]:
    streams = Streams(parts.store, parts.clock)
    giver = Giver(store=parts.store, streams=streams, clock=parts.clock, lease_ttl_sec=TTL_SEC)
    dispatcher = Dispatcher(
        giver=giver, queue=parts.reads, clock=parts.clock, lease_ttl_sec=TTL_SEC
    )
    commands = Commands(
        store=parts.store,
        streams=streams,
        numbers=SimNumbers(parts.site.log, parts.database),
        rejections=parts.leases,
        signals=Signals(parts.wire),
        clock=parts.clock,
        lease_ttl_sec=TTL_SEC,
    )
    endpoint = Endpoint(
        requests=Requests(SimVerifier(), parts.clock, frozenset()),
        commands=commands,
        dispatcher=dispatcher,
        grants=NoGrants(),
        leases=parts.leases,
        clock=parts.clock,
        metrics=parts.metrics,
        streams=streams,
        endings=Endings(parts.store),
        lease_ttl_sec=TTL_SEC,
    )
    arrivals = Arrivals(parts.live, parts.reads, streams, dispatcher)
    door = SimDoor(parts.link)
    return [
        ("dispatcher", dispatcher.run),
        ("service", lambda: door.serve(endpoint.handle, lambda: None)),
        ("arrivals", arrivals.run),
        ("streams", lambda: streams.follow(parts.live)),
        ("log", parts.store.run),
    ]


def _relay(parts: Parts) -> list[Service]:
    relay = Relay(
        store=parts.store,
        stream=SimEventStream(parts.site.bus, parts.link),
        told=parts.live,
        leadership=parts.leases,
        bell=parts.bell,
        clock=parts.clock,
        metrics=parts.metrics,
        holder=parts.holder,
    )
    return [("relay", relay.run), *_projector(parts)]  # as in a `pandar up`, which tells it


def _projector(parts: Parts) -> list[Service]:
    views = SimViews(parts.site.views, parts.database)
    return [("projector", Projector(parts.store, parts.feed, views).run)]


def _reaper(parts: Parts) -> list[Service]:
    reaper = parts.site.rules.reaper(
        leases=parts.leases,
        queue=parts.reads,
        leadership=parts.leases,
        wire=parts.wire,
        asker=parts.asker("reaper", "system"),
        clock=parts.clock,
        holder=parts.holder,
        lease_ttl_sec=TTL_SEC,
    )
    scheduler = Scheduler(
        queue=parts.reads,
        leadership=parts.leases,
        asker=parts.asker("scheduler", "system"),
        clock=parts.clock,
        holder=parts.holder,
    )
    return [("scheduler", scheduler.run), ("reaper", reaper.run)]


def _runner(parts: Parts) -> list[Service]:
    machine = parts.site.machines[parts.process.name]
    runner = parts.site.rules.runner(
        data=machine.data,
        slots=SLOTS,
        lease_ttl_sec=TTL_SEC,
        host=machine.host(parts.process),
        folders=DataFolders(machine.data),
        spools=machine.spools(),
        outputs=SimOutputs(parts.site.bus, parts.link),
        agents=NoAgents(),
        wire=parts.wire,
        asker=parts.asker(parts.process.name, "runner"),
        clock=parts.clock,
        metrics=parts.metrics,
        path="/bin",
    )
    return [("runner", runner.run)]


_ROLES: Final[dict[str, Callable[[Parts], list[Service]]]] = {
    "commands": _commands,
    "relay": _relay,
    "projector": _projector,
    "reaper": _reaper,
    "runner": _runner,
}
