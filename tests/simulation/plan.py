"""The fault menu, and what a seed chooses from it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from msgspec import Struct

from tests.simulation.node import Trouble
from tests.simulation.site import PROCESSES, Site

FAULTY_SEC: Final = 60.0
PATHS: Final = (*PROCESSES, "people")
RUNNERS: Final = tuple(name for name in PROCESSES if name.startswith("runner"))


class Fault(Struct, frozen=True, kw_only=True):
    """One thing that goes wrong, from ``at_sec`` on, for ``for_sec``."""

    at_sec: float = 0.0
    for_sec: float
    kind: str
    target: str
    amount: float = 0.0


class Menu(Struct, frozen=True, kw_only=True):
    """What may be chosen from; an empty part leaves the choice to the seed."""

    kinds: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()


class Storm(Struct, frozen=True, kw_only=True):
    """What goes wrong, fault by fault, and why it is kept. Without faults the seed chooses them."""

    why: str
    seed: int = 0
    faults: list[Fault] = []


def plan(seed: str, faults: int, menu: Menu | Storm) -> list[Fault]:
    """Return what goes wrong, in order."""
    if isinstance(menu, Storm):
        chosen = menu.faults or plan(seed, faults, Menu())
        return sorted(chosen, key=lambda fault: fault.at_sec)
    dice = Random(f"{seed}/plan")
    kinds = dice.sample(sorted(_MENU), dice.choice((1, 2, 3, 6, len(_MENU))))
    targets = dice.choice((RUNNERS, dice.sample(PATHS, dice.randint(2, len(PATHS))), PATHS))
    kinds, targets = list(menu.kinds) or kinds, menu.targets or targets
    wanted = round(faults * dice.choice((0.2, 0.5, 1.0)))
    chosen = [_choose(dice, dice.choice(kinds), dice.choice(targets)) for _ in range(wanted)]
    return sorted(chosen, key=lambda fault: fault.at_sec)


def _choose(dice: Random, kind: str, target: str) -> Fault:
    if target not in PROCESSES and kind not in _PATHS:
        target = dice.choice(PROCESSES)
    return Fault(
        at_sec=dice.uniform(0, FAULTY_SEC),
        for_sec=dice.choice((0.05, 0.5, 2.0, 5.0, 12.0, 25.0)) * dice.uniform(0.5, 1.5),
        kind=kind,
        target=target,
        amount=dice.random(),
    )


def begin(site: Site, fault: Fault) -> Callable[[], None]:
    """Let it go wrong; return what ends it."""
    site.sim.trace.add("fault", fault.kind, fault.target, f"{fault.for_sec:.3f}")
    return _MENU[fault.kind](site, fault)


# --- processes ---


def _kill(site: Site, fault: Fault) -> Callable[[], None]:
    site.kill(fault.target)
    return lambda: site.start(fault.target)


def _stop(site: Site, fault: Fault) -> Callable[[], None]:
    site.stop(fault.target)
    process = site.processes[fault.target]

    def again() -> None:
        if site.processes[fault.target] is process:  # it had its time: as any init system would
            site.kill(fault.target)
            site.start(fault.target)

    return again


def _freeze(site: Site, fault: Fault) -> Callable[[], None]:
    node = site.processes[fault.target].node
    site.sim.loop.freeze(node)
    return lambda: site.sim.loop.thaw(node)


def _jump(site: Site, fault: Fault) -> Callable[[], None]:
    clock = site.processes[fault.target].clock
    clock.skew_sec += (fault.amount - 0.5) * 10_000

    def back() -> None:
        clock.skew_sec = 0.0

    return back


# --- paths ---


def _database_breaks(site: Site, fault: Fault) -> Callable[[], None]:
    trouble = site.troubles[fault.target].database
    trouble.lost, trouble.unanswered = fault.amount * 0.5, fault.amount * 0.5
    return _clear(trouble)


def _database_slow(site: Site, fault: Fault) -> Callable[[], None]:
    trouble = site.troubles[fault.target].database
    trouble.slow = fault.amount
    return _clear(trouble)


def _database_away(site: Site, fault: Fault) -> Callable[[], None]:
    trouble = site.troubles[fault.target].database
    trouble.away = True
    if fault.target in site.parts:
        site.parts[fault.target].database.cut()
    return _clear(trouble)


def _bus_loses(site: Site, fault: Fault) -> Callable[[], None]:
    trouble = site.troubles[fault.target].bus
    trouble.lost = trouble.unanswered = fault.amount * 0.5
    return _clear(trouble)


def _bus_repeats(site: Site, fault: Fault) -> Callable[[], None]:
    trouble = site.troubles[fault.target].bus
    trouble.twice, trouble.slow = fault.amount, fault.amount * 0.5
    return _clear(trouble)


def _bus_silent(site: Site, fault: Fault) -> Callable[[], None]:
    if fault.target in site.parts:
        site.parts[fault.target].link.silence()
    return _clear(site.troubles[fault.target].bus)


def _clear(trouble: Trouble) -> Callable[[], None]:
    def clear() -> None:
        trouble.away = False
        trouble.lost = trouble.unanswered = trouble.slow = trouble.twice = 0.0

    return clear


# --- servers ---


def _database_crashes(site: Site, fault: Fault) -> Callable[[], None]:
    site.crash_database()
    for troubles in site.troubles.values():
        troubles.database.away = True

    def back() -> None:
        for troubles in site.troubles.values():
            troubles.database.away = False

    site.sim.later(min(fault.for_sec, 5.0), back)
    return back


def _bus_restarts(site: Site, fault: Fault) -> Callable[[], None]:
    site.bus.stop()

    def back() -> None:
        site.bus.away = False

    return back


def _bus_forgets(site: Site, fault: Fault) -> Callable[[], None]:
    """Its store is rolled back to an older copy, or lost."""
    site.bus.stop()
    for stream in site.bus.streams.values():
        del stream[int(len(stream) * fault.amount) :]

    def back() -> None:
        site.bus.away = False

    return back


def _slow_follower(site: Site, fault: Fault) -> Callable[[], None]:
    parts = site.parts[fault.target]
    parts.live.room = 2

    def enough() -> None:
        parts.live.room = 10_000

    parts.link.lose()
    return enough


_MENU: Final[dict[str, Callable[[Site, Fault], Callable[[], None]]]] = {
    "kill": _kill,
    "stop": _stop,
    "freeze": _freeze,
    "jump": _jump,
    "database breaks": _database_breaks,
    "database slow": _database_slow,
    "database away": _database_away,
    "database crashes": _database_crashes,
    "bus loses": _bus_loses,
    "bus repeats": _bus_repeats,
    "bus silent": _bus_silent,
    "bus restarts": _bus_restarts,
    "bus forgets": _bus_forgets,
    "slow follower": _slow_follower,
}
_PATHS: Final = frozenset({"database breaks", "database slow", "database away"}) | frozenset(
    {"bus loses", "bus repeats", "bus silent"}
)


def heal(site: Site) -> None:
    """End everything that is wrong."""
    site.bus.away = False
    for troubles in site.troubles.values():
        _clear(troubles.database)()
        _clear(troubles.bus)()
    for name in PROCESSES:
        process = site.processes[name]
        process.clock.skew_sec = 0.0
        site.sim.loop.thaw(process.node)
        if process.stop.is_set():
            site.kill(name)
        site.start(name)
