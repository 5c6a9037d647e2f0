"""The history checker finds what it is there to find: one broken history a rule, and a good one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from msgspec import Raw
from msgspec.structs import replace

from events import task as did
from events.task import FailureKind, Status
from projections.base import fold
from projections.models import MODELS
from tests.support.history import Acked, Effect, History, violations
from tests.support.lives import (
    START,
    Chronicle,
    chronicle,
    created,
    execution,
    random_lives,
    started,
)

PRINTED = b"one\ntwo\n"
SECOND = 2  # the attempt that completes


def good() -> History:
    """Return what is known of a task lost once and then completed, and of one cancelled."""
    told = Chronicle()
    told.add("task-42", created(metadata={"concurrency_key": "db", "max_retries": 1}))  # 1
    told.add("task-42", did.StartRequested(), started())  # 2, 3
    told.add("task-42", _lost(1), _retried(), started(SECOND))  # 4, 5, 6
    told.add("task-42", _completed(SECOND, len(PRINTED)))  # 7
    told.add("task-7", created(7, metadata={"concurrency_key": "db"}), did.StartRequested())  # 9
    told.add("task-7", started(7), _cancelled(7, len(PRINTED[:4])))  # 11
    events = told.recorded
    return History(
        events=events,
        acked=[Acked("c1", "task-42", 1, 1), Acked("nothing-to-do", "task-42", 7, 7)],
        receipts={"nothing-to-do": 7},
        bus=list(events),
        models={name: fold(model, events) for name, model in MODELS.items()},
        effects=[
            Effect(42, execution(1), _at(3), "start"),
            Effect(42, str(execution(SECOND)), _at(6), "start"),
            Effect(42, execution(SECOND), _at(7), "end"),
            Effect(7, execution(7), _at(10), "start"),
        ],
        stored_outputs={
            execution(1): PRINTED[:1],
            execution(SECOND): PRINTED,
            execution(7): PRINTED[:4],
        },
        expected_outputs={execution(n): PRINTED for n in (1, SECOND, 7)},
    )


def _at(position: int) -> datetime:
    return START + timedelta(seconds=position)


def _lost(attempt: int) -> did.ExecutionLost:
    return did.ExecutionLost(
        execution_id=execution(attempt), epoch=attempt, runner_id="r1", begun=True
    )


def _retried() -> did.TaskRetried:
    return did.TaskRetried(from_status=Status.RUNNING, attempt=1, not_before=START)


def _completed(attempt: int, printed: int) -> did.TaskCompleted:
    return did.TaskCompleted(
        execution_id=execution(attempt),
        exit_code=0,
        output_tail="",
        duration_sec=1.0,
        output_bytes=printed,
    )


def _cancelled(attempt: int, printed: int) -> did.TaskCancelled:
    return did.TaskCancelled(
        execution_id=execution(attempt), from_status=Status.RUNNING, output_bytes=printed
    )


def test_a_good_history_breaks_no_rule() -> None:
    """Nothing is found where nothing is wrong."""
    assert violations(good()) == []


def test_what_was_not_collected_is_not_judged() -> None:
    """A log alone is a history, and so is nothing at all."""
    assert violations(History(events=good().events)) == []
    assert violations(History(events=[])) == []


# --- broken in one place each ---

Break = Callable[[History], object]


def _event(history: History, position: int, **changes: object) -> None:
    """Change an event wherever it is: the log alone is to be blamed."""
    for events in (history.events, history.bus or []):
        events[position - 1] = replace(events[position - 1], **changes)


def _says(history: History, position: int, event: did.TaskEvent) -> None:
    """Let another event stand at a position."""
    told = Chronicle()
    (one,) = told.add("task-1", event)
    _event(history, position, type=one.type, data=one.data)
    history.models = None


def _add(history: History, stream: str, *events: did.TaskEvent) -> None:
    """Append to the log, as events of one stream, well formed."""
    told = Chronicle()
    told.recorded = list(history.events)
    told._versions = {stream: sum(each.stream == stream for each in history.events)}
    told.add(stream, *events)
    history.events, history.bus, history.models = told.recorded, list(told.recorded), None


def _drop_position(history: History) -> None:
    history.events = [replace(e, position=e.position + (e.position > 7)) for e in history.events]
    history.bus = history.models = None


def _drop_version(history: History) -> None:
    _event(history, 7, version=8)
    history.acked, history.models = [], None


def _repeat_command(history: History) -> None:
    _event(history, 9, command_id="c1")


def _spread_command(history: History) -> None:
    _event(history, 8, command_id="c7")


def _lose_bus_end(history: History) -> None:
    assert history.bus is not None
    history.bus.pop()


def _lengthen_bus(history: History) -> None:
    assert history.bus is not None
    history.bus.append(replace(history.bus[-1], position=12))


def _change_bus(**changes: object) -> Break:
    def change(history: History) -> None:
        assert history.bus is not None
        history.bus[2] = replace(history.bus[2], **changes)

    return change


def _change_row(history: History) -> None:
    assert history.models is not None
    history.models["tasks"]["tasks"][(42,)]["name"] = "another"


def _lose_row(history: History) -> None:
    assert history.models is not None
    history.models["tasks"]["tasks"].popitem()


def _effect(effect: Effect) -> Break:
    return lambda history: history.effects.append(effect)


def _ack(acked: Acked) -> Break:
    return lambda history: history.acked.append(acked)


def _keep(command_id: str, position: int, acked: Acked) -> Break:
    def keep(history: History) -> None:
        history.receipts[command_id] = position
        history.acked.append(acked)

    return keep


def _garble(history: History) -> None:
    _add(history, "task-5", created(5))
    _event(history, 12, data=Raw(b"[]"))


def _store(attempt: int, data: bytes) -> Break:
    def store(history: History) -> None:
        assert history.stored_outputs is not None
        history.stored_outputs[execution(attempt)] = data

    return store


def _expect_other(history: History) -> None:
    history.expected_outputs[execution(SECOND)] = b"one\nTWO\n"


BROKEN: dict[str, tuple[Break, str]] = {
    "position": (_drop_position, "positions: 9 stands where 8 should"),
    "version": (_drop_version, "versions: task-42 has 8 at position 7, not 7"),
    "twice": (_repeat_command, "answered: c1 took effect at 1 and at 9"),
    "spread": (_spread_command, "answered: c7 wrote to task-42, task-7"),
    "unstored": (
        _ack(Acked("c99", "task-42", 3, 3)),
        "answered: c99 was told task-42 3/3, and is not stored",
    ),
    "elsewhere": (
        _ack(Acked("c3", "task-42", 4, 4)),
        "answered: c3 was told task-42 4/4, stored as task-42 3/3",
    ),
    "kept elsewhere": (
        _ack(Acked("nothing-to-do", "task-42", 6, 6)),
        "answered: nothing-to-do was told task-42 6/6, kept at 7",
    ),
    "nothing there": (
        _keep("far", 12, Acked("far", "task-7", 12, 1)),
        "answered: far was told task-7 12/1, where the log has nothing",
    ),
    "another there": (
        _keep("odd", 7, Acked("odd", "task-7", 7, 1)),
        "answered: odd was told task-7 7/1, where task-42 7/7 stands",
    ),
    "bus behind": (_lose_bus_end, "bus: ends at 10, the log at 11"),
    "bus ahead": (_lengthen_bus, "bus: 12 task-7 task.cancelled is beyond the log"),
    "bus data": (
        _change_bus(data=Raw(b"{}")),
        "bus: position 3 differs: 3 task-42 task.started",
    ),
    "bus id": (
        _change_bus(event_id=UUID(int=99)),
        "bus: position 3 differs: 3 task-42 task.started",
    ),
    "bus position": (
        _change_bus(position=4),
        "bus: position 3 differs: 4 task-42 task.started",
    ),
    "model row": (
        _change_row,
        "models: tasks: tasks (42,): name is 'another', not 'Nightly audit'",
    ),
    "model missing": (_lose_row, "models: tasks: tasks (7,): missing"),
    "two leases": (
        lambda history: _says(history, 4, started(9)),
        f"lease: 4 task-42 task.started: {execution(9)} starts while {execution(1)} lives",
    ),
    "started again": (
        lambda history: _says(history, 6, started(1)),
        f"lease: 6 task-42 task.started: {execution(1)} starts again",
    ),
    "another ends": (
        lambda history: _says(history, 7, _completed(1, len(PRINTED[:1]))),
        f"lease: 7 task-42 task.completed: {execution(1)} ends, {execution(SECOND)} lives",
    ),
    "ends twice": (
        lambda history: _add(history, "task-42", _completed(SECOND, len(PRINTED))),
        f"lease: 12 task-42 task.completed: {execution(SECOND)} ends, nothing lives",
    ),
    "ends unnamed": (
        lambda history: _says(history, 11, did.TaskCancelled(from_status=Status.RUNNING)),
        f"lease: 11 task-7 task.cancelled: nothing ends, {execution(7)} lives",
    ),
    "stale word": (
        lambda history: _says(
            history, 5, did.TaskProgressed(execution_id=execution(1), progress=5)
        ),
        f"lease: 5 task-42 task.progressed: {execution(1)} speaks, nothing lives",
    ),
    "unreadable": (
        _garble,
        "lease: event 12 (task.created): Expected `object`, got `array`",
    ),
    "key": (
        lambda history: _says(history, 7, did.StartRequested()),
        (
            f"key: 'db' is held by {execution(SECOND)} when {execution(7)} starts, "
            "10 task-7 task.started"
        ),
    ),
    "effect twice": (
        _effect(Effect(42, execution(1), _at(4), "start")),
        f"effect: 'start' of {execution(1)} happened 2 times",
    ),
    "effect of nobody": (
        _effect(Effect(42, execution(9), _at(4), "start")),
        f"effect: 'start' of {execution(9)} (task-42) at {_at(4)}: the log never started it",
    ),
    "effect elsewhere": (
        _effect(Effect(7, execution(1), _at(4), "odd")),
        f"effect: 'odd' of {execution(1)} (task-7) at {_at(4)}: it is of task-42",
    ),
    "effect too early": (
        _effect(Effect(42, execution(1), _at(2), "odd")),
        (
            f"effect: 'odd' of {execution(1)} (task-42) at {_at(2)}: "
            f"before its start, 3 task-42 task.started at {_at(3)}"
        ),
    ),
    "effect of a stale runner": (
        _effect(Effect(42, execution(1), _at(5), "late")),
        (
            f"effect: 'late' of {execution(1)} (task-42) at {_at(5)}: "
            f"after its end, 4 task-42 task.execution_lost at {_at(4)}"
        ),
    ),
    "effect after the end": (
        _effect(Effect(42, execution(SECOND), _at(8), "late")),
        (
            f"effect: 'late' of {execution(SECOND)} (task-42) at {_at(8)}: "
            f"after its end, 7 task-42 task.completed at {_at(7)}"
        ),
    ),
    "output lost": (
        _store(7, PRINTED[:3]),
        "output: task-7, started at 10: 3 bytes are stored of 4",
    ),
    "output differs": (_expect_other, "output: task-42, started at 6: differs at byte 4"),
    "output too long": (
        _store(1, PRINTED + b"three\n"),
        "output: task-42, started at 3: differs at length 14 of 8",
    ),
    "output of nobody": (
        _store(9, b"x"),
        f"output: of {execution(9)}, which the log never started",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_broken_promise_is_named(name: str) -> None:
    """What is wrong in one place is found, named by its rule and place, and nothing else is."""
    history = good()
    change, expected = BROKEN[name]
    change(history)
    found = violations(history)
    assert expected in found
    assert {line.partition(":")[0] for line in found} <= {expected.partition(":")[0], *KIN[name]}


KIN: dict[str, set[str]] = {name: set() for name in BROKEN} | {
    "two leases": {"effect", "output", "key"},  # the second execution hides the first one's end
    "started again": {"effect", "output", "key"},
    "another ends": {"effect", "output", "key"},
    "key": {"lease", "effect"},  # one that never ended
    "version": {"answered"},
}
"""Other rules that the same damage breaks as well."""


def test_a_cut_output_counts_what_was_kept() -> None:
    """Bytes the runner said it dropped are not missed."""
    history = good()
    failed = did.TaskFailed(
        execution_id=execution(7),
        error="",
        kind=FailureKind.EXIT_CODE,
        from_status=Status.RUNNING,
        output_bytes=10,
        cut=did.Cut(start=2, end=8),
    )
    _says(history, 11, failed)
    assert violations(history) == []


def test_random_lives_break_no_rule() -> None:
    """Whatever the rules of a task allow, in any order, is a good history."""
    for seed in range(20):
        events = chronicle(random_lives(seed, 12))
        assert violations(History(events=events, bus=events)) == []
