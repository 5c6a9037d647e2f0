"""Faults: a list of them from a seed, and how each is done to a running fleet."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Sequence
from enum import StrEnum, auto

from msgspec import Struct

from tests.support.chaos_fleet import (
    LEASE_SEC,
    MEMBERS,
    Fleet,
    descendants,
    is_nursery,
    send,
)
from tests.support.trees import state_of
from tests.support.waiting import until


class Kind(StrEnum):
    """What is done to a victim."""

    KILL = auto()  # SIGKILL, then started again; a link is cut in the middle of a frame
    KILL_TWICE = auto()  # and killed while it starts
    STOP = auto()  # SIGSTOP, and SIGCONT after a while; a link carries nothing for so long


class Fault(Struct, frozen=True, kw_only=True):
    """One round: after so many marks of the load, do this; ``sec`` is the pause that is its point.

    Killed, the victim stays away so long; stopped, it stands still so long.
    """

    victim: str
    kind: Kind
    after: int
    sec: float


SERVERS = ("nats", "postgres")
RUNNERS = ("runner-1", "runner-2")
GUARDIANS = ("guardian-1", "guardian-2")
LINKS = ("link-1", "link-2")
_WEIGHTS = {
    **dict.fromkeys(MEMBERS, 2),
    **dict.fromkeys(RUNNERS, 4),
    **dict.fromkeys(GUARDIANS, 4),
    **dict.fromkeys(LINKS, 3),
    **dict.fromkeys(SERVERS, 3),
}
_LEAD_SEC = {"relay": 6.0, "reaper": 10.0, "scheduler": 10.0}
"""For how long a lead is held (see `pandar_daemon.services`); all others: the lease."""


def plan(seed: int, rounds: int, victims: Sequence[str] = ()) -> list[Fault]:
    """Return the rounds of a seed, always the same."""
    rng = random.Random(seed)
    chosen = list(victims or _WEIGHTS)
    weights = [_WEIGHTS.get(victim, 1) for victim in chosen]
    return [_fault(rng, rng.choices(chosen, weights)[0]) for _ in range(rounds)]


def _fault(rng: random.Random, victim: str) -> Fault:
    kind = rng.choices(list(Kind), [8, 0, 2] if victim in GUARDIANS else [5, 1, 5])[0]
    if victim in (*SERVERS, *LINKS) and kind is Kind.KILL_TWICE:
        kind = Kind.KILL
    return Fault(victim=victim, kind=kind, after=rng.randrange(60), sec=_pause(rng, victim, kind))


def _pause(rng: random.Random, victim: str, kind: Kind) -> float:
    """Return how long: one stop in three (a runner's: in two) outlives the lease or the lead."""
    if kind is not Kind.STOP:
        return rng.choice([0.0, rng.uniform(0.0, 0.5)])
    if victim in GUARDIANS:
        return rng.uniform(0.02, 0.15 * LEASE_SEC)  # alone it cannot stop a tree in time
    lease = _LEAD_SEC.get(victim.partition("-")[0], LEASE_SEC)
    if rng.random() < (1 / 2 if victim in RUNNERS else 1 / 3):
        return lease * rng.uniform(1.1, 1.6)
    return rng.uniform(0.02, 0.8 * min(lease, LEASE_SEC))


def shares(victim: str) -> str:
    """Return what one fault at a time may hit: a runner and its guardians are one machine."""
    return victim.replace("guardian", "runner")


async def strike(fleet: Fleet, fault: Fault, rng: random.Random) -> int:
    """Do it, and return, once the victim is well again, how many processes were killed."""
    if fault.victim in GUARDIANS:
        return await _strike_guardian(fleet, fault, rng)
    if fault.victim in LINKS:
        return await _strike_link(fleet, fault)
    match fault.kind:
        case Kind.STOP:
            await _stop(fleet.pids(fault.victim), fault.sec)
            return 0
        case Kind.KILL if fault.victim in SERVERS:
            await fleet.kill_server(fault.victim)
            await asyncio.sleep(fault.sec)
            await fleet.revive_server(fault.victim)
            return 1
        case Kind.KILL:
            await fleet[fault.victim].kill()
            await asyncio.sleep(fault.sec)
            await fleet.start(fault.victim)
            return 1
        case Kind.KILL_TWICE:
            await fleet[fault.victim].kill()
            again = await fleet.launch(fault.victim)
            await asyncio.sleep(rng.uniform(0.1, 2.0))
            await again.kill()
            await fleet.start(fault.victim)
            return 2


async def _stop(pids: list[int], sec: float) -> None:
    """Stop them all for a while; who is gone when it ends is left alone."""
    for pid in pids:
        send(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(sec)
    finally:
        for pid in reversed(pids):
            send(pid, signal.SIGCONT)


async def _strike_link(fleet: Fleet, fault: Fault) -> int:
    proxies = fleet.links[fault.victim.partition("-")[2]]
    for proxy in proxies:
        if fault.kind is Kind.STOP:
            proxy.hush()
        else:
            proxy.cut()
    await asyncio.sleep(fault.sec)
    for proxy in proxies:
        proxy.speak()
    return 0


async def _strike_guardian(fleet: Fleet, fault: Fault, rng: random.Random) -> int:
    """Hit one guardian, or the nursery they come from.

    A killed one is well again when the runner has killed what it leaves of its tree: until then
    nobody else could (see `docs/explanation/guarantees.md`).
    """
    found = fleet.guardians(shares(fault.victim))
    if not found:
        return 0
    guardian = rng.choice(found)
    if fault.kind is Kind.STOP:
        await _stop([guardian], fault.sec)
        return 0
    left = [] if is_nursery(guardian) else descendants(guardian)
    send(guardian, signal.SIGKILL)
    await until(lambda: not any(map(state_of, left)))
    return 1
