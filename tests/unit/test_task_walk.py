"""Every state a task can reach, walked breadth first, with what must hold in all of them.

The walk is exhaustive: it tries every command in every state it finds. Ids, epochs and times grow
for ever, so they are left out of what makes two states the same (`sketch`); commands are made from
the state at hand instead, including those of executions and confirmations that are over.

Beside the task walks a `Ledger`, which learns only from what was appended: it counts retries,
remembers epochs, holds keys and the lease, as the store and the read models do.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime
from functools import lru_cache
from uuid import UUID

import msgspec
from msgspec import Struct

from events import task as did
from events.commands import Decision
from events.task import TERMINAL, Status
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.domain.task import TaskCommand, decide
from pandar_daemon.domain.task_rules import Ask
from pandar_daemon.domain.task_state import Task, evolve, initial
from pandar_daemon.ports import Key, LeaseChange, LeaseOp
from pandar_daemon.services.claims import Claims, claims
from projections import stats
from tests.support.everything import commands
from tests.support.given import NOW, PROJECT_ID, TASK_ID, prove_told_truly


class Ledger(Struct, frozen=True):
    """What the log and its constraints know; ``counted`` since somebody last asked for a run."""

    counted: int = 0
    epoch: int = 0
    keys: frozenset[Key] = frozenset()
    lease: tuple[UUID, int] | None = None
    cancel: bool = False


class Place(Struct, frozen=True):
    """Where the walk is."""

    task: Task
    ledger: Ledger = Ledger()


Sketch = tuple[object, ...]


def sketch(place: Place) -> Sketch:
    """Return what makes two places the same; ids, times and what no rule reads are left out."""
    task = place.task
    return (
        task.status,
        task.deleted,
        task.queued,
        task.not_before is not None and task.not_before > NOW,
        task.retries,
        task.execution is not None,
        task.execution and task.execution.held_key,
        task.pending is not None,
        _asked(task),
        task.cancel_requested,
        task.parked,
        task.resuming,
        task.conversation is not None,
        task.answered is not None and task.answered.decision is Decision.APPROVE,
        task.decided[-1].decision if task.decided else None,
        task.metadata.get("n", -1),
        place.ledger.counted,
        place.ledger.lease is not None,
    )


def _asked(task: Task) -> Sketch:
    pending = task.pending
    if pending is None:
        return ()
    return (pending.gate, pending.quorum, pending.escalated, len(pending.votes))


# --- what holds at every step ----------------------------------------------------------------


def step(place: Place, command: TaskCommand, at: datetime) -> Place | None:
    """Return where a command leads, ``None`` when refused; prove what holds of any step."""
    before = msgspec.json.encode(place.task)
    ask = Ask(at, "ann")
    try:
        events = decide(place.task, command, ask)
    except Refusal:
        assert msgspec.json.encode(place.task) == before
        return None
    assert decide(place.task, command, ask) == events
    prove_told_truly(place.task, events, evolve)
    held = claims(place.task, events, ttl_sec=8.0)
    task, ledger = place.task, place.ledger
    for event in events:
        ledger = _noted(ledger, task, event)
        task = _evolved(task, event)
    assert msgspec.json.encode(place.task) == before
    after = Place(task, _appended(ledger, held, task))
    prove_invariants(after)
    return after


def _evolved(task: Task, event: did.TaskEvent) -> Task:
    after = evolve(task, event)
    assert evolve(task, event) == after
    assert (after.pending is not None) == (after.status is Status.WAITING_CONFIRMATION)
    was, is_ = stats._move(event)
    if was is not None or is_ is not None:
        assert was == task.status, event
        assert is_ == (None if after.deleted else after.status), event
    else:
        assert task.status is after.status, event
    return after


def _noted(ledger: Ledger, task: Task, event: did.TaskEvent) -> Ledger:
    """Learn from one event, and prove that it may happen."""
    match event:
        case did.TaskStarted():
            assert event.epoch > ledger.epoch, "an epoch was given out twice"
            assert event.attempt == task.attempt + 1
            return msgspec.structs.replace(ledger, epoch=event.epoch)
        case did.TaskRetried(counted=True):
            assert event.automatic
            assert ledger.counted < task.policy.max_retries, "one retry too many"
            return msgspec.structs.replace(ledger, counted=ledger.counted + 1)
        case did.TaskRetried(automatic=False):
            return msgspec.structs.replace(ledger, counted=0)
        case _:
            return ledger


def _appended(ledger: Ledger, held: Claims, task: Task) -> Ledger:
    """Judge the constraints as the store does: all in one transaction."""
    assert not ledger.keys & set(held.reserve), "reserved twice"
    assert ledger.keys >= set(held.release), "released what was not held"
    keys = (ledger.keys | set(held.reserve)) - set(held.release)
    ledger = msgspec.structs.replace(ledger, keys=keys)
    return ledger if held.lease is None else _leased(ledger, held.lease, task)


def _leased(ledger: Ledger, change: LeaseChange, task: Task) -> Ledger:
    quoted = (change.execution_id, change.epoch)
    if change.op is LeaseOp.ACQUIRE:
        assert ledger.lease is None, "a second lease"
        return msgspec.structs.replace(ledger, lease=quoted, cancel=False)
    assert ledger.lease == quoted, "a lease that is not held"
    if change.op in {LeaseOp.RELEASE, LeaseOp.EXPIRE}:
        return msgspec.structs.replace(ledger, lease=None, cancel=False)
    return msgspec.structs.replace(ledger, cancel=ledger.cancel or change.op is LeaseOp.CANCEL)


def prove_invariants(place: Place) -> None:
    """Prove what holds between any two commands."""
    task, ledger = place.task, place.ledger
    live = task.execution
    assert (live is not None) == (ledger.lease is not None)
    if live is not None:
        assert task.status in {Status.RUNNING, Status.WAITING_CONFIRMATION}
        assert ledger.lease == (live.execution_id, live.epoch)
        assert ledger.cancel == task.cancel_requested, "its runner would not hear of the cancel"
    assert live is not None or task.resuming or task.status is not Status.RUNNING
    assert not task.resuming or (live is None and task.status is Status.RUNNING)
    assert not task.parked or (live is None and task.status is Status.WAITING_CONFIRMATION)
    assert live is not None or not task.cancel_requested
    assert task.status is Status.PENDING or not task.queued
    assert task.not_before is None or task.queued
    assert task.status not in TERMINAL or live is None
    assert task.retries == ledger.counted
    assert ledger.keys == _keys(task)


def _keys(task: Task) -> set[Key]:
    """What must be held: the key of the live execution, and the one open confirmation."""
    keys = set()
    if task.execution is not None and task.execution.held_key:
        keys.add(Key("concurrency", f"{PROJECT_ID}:{task.execution.held_key}"))
    if task.pending is not None:
        keys.add(Key("confirmation", str(TASK_ID)))
    return keys


# --- the walk --------------------------------------------------------------------------------


class Map(Struct):
    """All places found, by sketch, and the ways between them."""

    places: dict[Sketch, Place]
    ways: dict[Sketch, set[Sketch]]


@lru_cache(maxsize=1)
def walked() -> Map:
    """Return the whole map; every step was proven on the way."""
    start = Place(initial(TASK_ID))
    found = Map({sketch(start): start}, {})
    waiting = deque([start])
    while waiting:
        place = waiting.popleft()
        ways = found.ways.setdefault(sketch(place), set())
        for command, at in commands(place.task):
            after = step(place, command, at)
            if after is None:
                continue
            ways.add(sketch(after))
            if sketch(after) not in found.places:
                found.places[sketch(after)] = after
                waiting.append(after)
    return found


def test_every_step_of_the_walk_holds() -> None:
    """In every reachable state every command keeps every promise, and all statuses are reached."""
    places = walked().places.values()
    assert {place.task.status for place in places} == {None, *Status}
    assert len(places) > 500


def test_every_state_has_a_way_out() -> None:
    """From every reachable state some commands lead to an end, or to deletion."""
    found = walked()
    ends = {
        at
        for at, place in found.places.items()
        if place.task.status in TERMINAL or place.task.deleted
    }
    backwards: dict[Sketch, set[Sketch]] = {}
    for at, ways in found.ways.items():
        for way in ways:
            backwards.setdefault(way, set()).add(at)
    saved, border = set(ends), deque(ends)
    while border:
        for at in backwards.get(border.popleft(), set()) - saved:
            saved.add(at)
            border.append(at)
    assert saved == set(found.places)


def test_what_ended_holds_nothing() -> None:
    """Once a task is over, no key, no lease and no confirmation is left of it."""
    for place in walked().places.values():
        if place.task.status in TERMINAL or place.task.deleted:
            assert place.ledger.keys == frozenset()
            assert place.ledger.lease is None
            assert place.task.pending is None
            assert not place.task.cancel_requested
