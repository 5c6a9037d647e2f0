"""Machines of ours: programs that run in virtual time, each under a guardian that obeys deadlines.

A program prints and does one thing to the world at every step. Its guardian is of the world: it
goes on while the runner is frozen, and kills the tree when the runner is dead.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from pathlib import Path

from msgspec import Struct

from events.calls import Allowance
from events.grant import CreateGrant
from events.running import Assignment
from events.task import Json
from pandar_daemon.adapters.process.spool import FileSpools
from pandar_daemon.ports import Driver, Exit, Launch, Spec
from tests.simulation.node import SimProcess, Simulation
from tests.support.history import Effect

GRACE_SEC = 5.0
BOOTED_AT = 1_000.0


class Script(Struct, frozen=True):
    """What a program does: so many steps, one every so many seconds; then it exits.

    Asked to end by SIGTERM it takes ``farewell_sec``.
    """

    steps: int = 3
    every_sec: float = 0.2
    width: int = 40
    exit_code: int = 0
    farewell_sec: float = 0.0

    def command(self) -> str:
        """Return the command line that is this script."""
        return (
            f"steps {self.steps} {self.every_sec} {self.width} {self.exit_code} {self.farewell_sec}"
        )

    @staticmethod
    def parse(command: str) -> Script:
        """Return the script of a command line."""
        _, steps, every, width, code, farewell = command.split()
        return Script(int(steps), float(every), int(width), int(code), float(farewell))

    def line(self, execution_id: object, step: int) -> bytes:
        """Return what a step prints: a piece of a pattern no other execution has."""
        return f"{execution_id} {step} ".encode().ljust(self.width, b".") + b"\n"

    def output(self, execution_id: object) -> bytes:
        """Return all it prints when it comes to its end."""
        return b"".join(self.line(execution_id, step) for step in range(self.steps))


class NoTalk:
    """`Talk` with a program that listens to nobody."""

    async def write(self, data: bytes) -> None:
        """See `Talk.write`."""

    async def read(self) -> bytes:
        """See `Talk.read`."""
        return b""

    def close_input(self) -> None:
        """See `Talk.close_input`."""

    def is_awaited(self) -> bool:
        """See `Talk.is_awaited`."""
        return False


class NoAgents:
    """`Agents` of a runner that has none."""

    names: Collection[str] = ()

    def launch(
        self, name: str, assignment: Assignment, home: Path, *, boxed: bool = False
    ) -> Launch:
        """See `Agents.launch`."""
        what = f"boxed agent {name}" if boxed else f"agent {name}"
        raise FileNotFoundError(f"no {what} for task {assignment.task_id} in {home}")

    def driver(self, name: str, *, boxed: bool = False) -> Driver:  # noqa: ARG002 - none is made
        """See `Agents.driver`."""
        raise KeyError(name)


class NoGrants:
    """`GrantReads` of projects that consented to nothing."""

    async def page(self, _project_id: int) -> list[Json]:
        """See `GrantReads.page`."""
        return []

    async def get(self, _grant_id: str) -> Json | None:
        """See `GrantReads.get`."""
        return None

    async def owed(self) -> list[CreateGrant]:
        """See `GrantReads.owed`."""
        return []

    async def active(self, _project_id: int) -> list[Allowance]:
        """See `GrantReads.active`."""
        return []


class Tree:
    """`Process`: a program and its guardian."""

    def __init__(self, sim: Simulation, spec: Spec, done: Callable[[Effect], None]) -> None:
        self._sim = sim
        self._spec = spec
        self._done = done
        self._script = Script.parse(spec.argv[-1])
        self._until = spec.until
        self._step = 0
        self._left = self._script.every_sec
        self._since = sim.loop.time()
        self._next: asyncio.TimerHandle | None = None
        self._condemned = False
        self._shown: asyncio.Queue[bytes] = asyncio.Queue()
        self._over = asyncio.Event()
        self.exit: Exit | None = None
        self._enforce()

    # --- the port ---

    @property
    def talk(self) -> NoTalk:
        """See `Process.talk`."""
        return NoTalk()

    @property
    def doors(self) -> Mapping[str, socket.socket]:
        """See `Process.doors`: there is no box."""
        return {}

    async def output(self) -> AsyncIterator[bytes]:
        """See `Process.output`."""
        while data := await self._shown.get():
            yield data

    async def allow_until(self, boottime: float) -> None:
        """See `Process.allow_until`."""
        self._until = boottime
        self._enforce()

    async def kill(self) -> None:
        """See `Process.kill`."""
        if self._condemned:
            return
        self._condemned = True
        if self._frozen:
            self._end(None)
        else:
            farewell = min(self._script.farewell_sec, GRACE_SEC)
            self._sim.later(farewell, lambda: self._end(None))

    async def wait(self) -> Exit:
        """See `Process.wait`."""
        await self._over.wait()
        assert self.exit is not None
        return self.exit

    # --- the world ---

    def orphan(self) -> None:
        """Its runner is dead: so is it, soon."""
        self._sim.later(self._sim.dice.uniform(0.0, 0.01), lambda: self._end(None))

    @property
    def _frozen(self) -> bool:
        return BOOTED_AT + self._sim.loop.time() >= self._until

    def _enforce(self) -> None:
        """Run on, or freeze, as the deadline says; look again at the deadline."""
        self._pause()
        if self.exit is not None:
            return
        if self._frozen:
            if self._condemned:
                self._end(None)  # what may not run is killed without grace
            return
        left = min(self._left, self._until - BOOTED_AT - self._sim.loop.time())
        due = left == self._left
        self._next = self._sim.later(left, self._go if due else self._enforce)

    def _pause(self) -> None:
        now = self._sim.loop.time()
        if self._next is not None:
            self._next.cancel()
            self._next = None
            self._left = max(0.0, self._left - (now - self._since))
        self._since = now

    def _go(self) -> None:
        self._next = None
        if self._step == self._script.steps:
            self._end(self._script.exit_code)
            return
        environment = self._spec.environment
        self._done(
            Effect(
                task_id=int(environment["PANDAR_TASK_ID"]),
                execution_id=self._spec.execution_id,
                at=self._sim.now(),
                what=f"step {self._step}",
            )
        )
        self._shown.put_nowait(self._script.line(self._spec.execution_id, self._step))
        self._step += 1
        self._left, self._since = self._script.every_sec, self._sim.loop.time()
        self._enforce()

    def _end(self, exit_code: int | None) -> None:
        if self.exit is not None:
            return
        if self._next is not None:
            self._next.cancel()
        self.exit = Exit(exit_code=exit_code, signal=9 if exit_code is None else None)
        self._sim.trace.add("program", self._spec.execution_id, "ends", exit_code)
        self._shown.put_nowait(b"")
        self._over.set()


class Machine:
    """What outlives a runner: its disk, and nothing else."""

    def __init__(self, sim: Simulation, data: Path, done: Callable[[Effect], None]) -> None:
        self.data = data
        self.trees: list[Tree] = []
        self._sim = sim
        self._done = done

    def spools(self) -> FileSpools:
        """Return the daemon's own spools, on a real disk."""
        return FileSpools(self.data / "spool")

    def host(self, process: SimProcess) -> SimHost:
        """Return the host one incarnation of the runner uses."""
        process.died.append(self.orphan)
        return SimHost(self)

    def orphan(self) -> None:
        """The runner died: so does all it ran."""
        for tree in self.trees:
            tree.orphan()

    def run(self, spec: Spec) -> Tree:
        """Start a program."""
        tree = Tree(self._sim, spec, self._done)
        self.trees = [*(each for each in self.trees if each.exit is None), tree]
        self._sim.trace.add("program", spec.execution_id, "starts")
        return tree

    def spawning_sec(self) -> float:
        """Return how long a guardian takes to start."""
        return self._sim.dice.uniform(0.01, 0.1)


class SimHost:
    """`ProcessHost`."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def start(self, spec: Spec) -> Tree:
        """See `ProcessHost.start`."""
        await asyncio.sleep(self._machine.spawning_sec())
        return self._machine.run(spec)

    async def sweep(self) -> int:
        """See `ProcessHost.sweep`."""
        left = [tree for tree in self._machine.trees if tree.exit is None]
        for tree in left:
            await tree.allow_until(0.0)
            await tree.kill()
        return len(left)
