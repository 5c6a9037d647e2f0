"""The simulation bites: with one rule of the world broken, a few seeds are enough to notice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path as Folder
from typing import Final

import msgspec
import pytest
from msgspec.structs import replace

from events.envelope import Recorded
from pandar_daemon.adapters.postgres.append_statement import Statement
from pandar_daemon.ports import Append, LeaseOp, Move, Spec, Verdict
from tests.simulation.bus_server import BusServer
from tests.simulation.database import SimLane, SimStore
from tests.simulation.hosts import Machine, Tree
from tests.simulation.log_server import LogServer
from tests.simulation.plan import Menu, Storm
from tests.simulation.run import simulate
from tests.simulation.site import Rules
from tests.simulation.view_server import Generation, ViewServer

TRIES = 12
RUNNERS = ("runner-1", "runner-2")
COMMANDS = ("commands-1", "commands-2")
RELAYS = ("relay-1", "relay-2")
PROJECTORS = ("projector-1", "projector-2")


class _NoFence(LogServer):
    """Takes a lease away even from a runner that has renewed it meanwhile."""

    def fenced(self, item: Append) -> bool:
        lease = item.lease
        if lease is not None and lease.op is LeaseOp.EXPIRE:
            return lease.task_id not in self.leases
        return super().fenced(item)


class _NoKeys(LogServer):
    """Lets any number of streams hold a key."""

    def judge(self, item: Append) -> Verdict:
        return super().judge(replace(item, reserve=()))


class _NoSequence(BusServer):
    """Stores an event wherever it comes."""

    def fits(self, stream: list[Recorded], recorded: Recorded) -> bool:
        return super().fits(stream, recorded) or recorded.position > 0


class _NoCheckpoint(ViewServer):
    """Applies a step from wherever the projector believes it is."""

    def ready(self, move: Move) -> Generation:
        found = self.find(move.at)
        assert found is not None
        return found


class _ForgetfulLane(SimLane):
    """Sends what was not answered again, under another command id."""

    _sent: Statement | None = None

    async def _send(self, items: Sequence[Append], append: Statement) -> list[Verdict]:
        again, self._sent = self._sent is append, append
        if again:
            items = [replace(each, command_id=f"again-{each.command_id[:50]}") for each in items]
        return await super()._send(items, append)


class _ForgetfulStore(SimStore):
    lane = _ForgetfulLane


class _NoDeadline(Machine):
    """Its guardians let programs run whatever their deadline."""

    def run(self, spec: Spec) -> Tree:
        return _Unstoppable.started(super().run(replace(spec, until=math.inf)))


class _Unstoppable(Tree):
    """A program no deadline freezes."""

    async def allow_until(self, boottime: float) -> None:
        """Take no note."""

    @staticmethod
    def started(tree: Tree) -> Tree:
        """Return a tree that is one."""
        tree.__class__ = _Unstoppable
        return tree


RENEWED_LATE: Final = msgspec.json.decode(
    (Folder(__file__).parent / "seeds" / "renewed_late.json").read_bytes(), type=Storm
)

BROKEN: Final[dict[str, tuple[Rules, Menu | Storm, str]]] = {
    "a lease taken from who renewed it": (Rules(log=_NoFence), RENEWED_LATE, "effect"),
    "two holders of a key": (Rules(log=_NoKeys), Menu(), "key"),
    "an event at another's sequence": (
        Rules(bus=_NoSequence),
        Menu(kinds=("freeze", "database slow"), targets=RELAYS),
        "bus",
    ),
    "a step applied twice": (
        Rules(views=_NoCheckpoint),
        Menu(kinds=("freeze", "database breaks"), targets=PROJECTORS),
        "models",
    ),
    "a retry under another command id": (
        Rules(store=_ForgetfulStore),
        Menu(kinds=("database breaks",), targets=COMMANDS),
        "answered",
    ),
    "a guardian without a deadline": (
        Rules(machine=_NoDeadline),
        Menu(kinds=("freeze",), targets=RUNNERS),
        "effect",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_noticed(what: str) -> None:
    """Some seed of a few shows it, by the rule it breaks."""
    rules, menu, rule = BROKEN[what]
    first = menu.seed if isinstance(menu, Storm) else 1
    for seed in range(first, first + TRIES):
        wrong = simulate(seed, rules=rules, menu=menu).wrong
        if any(line.startswith(f"{rule}:") for line in wrong):
            return
    pytest.fail("nobody noticed")
