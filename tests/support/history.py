"""The history checker: what the log, the bus and the world must agree on, whatever went wrong.

`violations` is pure. Real processes under faults and the deterministic simulation share it. Each
line it returns begins with the name of the rule that was broken:

==========  ====================================================================================
positions   are 1, 2, 3 … in the order of the log
versions    of each stream are 1, 2, 3 …
answered    what a client was told is in the log, at that position; a command is there once
bus         holds exactly the log
models      serve exactly the fold of the log
lease       at most one execution of a task lives; only that one ends it or says anything
key         at most one execution of a ``concurrency_key`` lives
effect      of an execution only while its lease lives, and each only once
output      all bytes an execution printed are stored, and no others
==========  ====================================================================================
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import groupby, islice
from uuid import UUID

import msgspec
from msgspec import Raw, Struct

from events import task as did
from events.envelope import Recorded
from events.task import Cut
from projections.base import Row, Rows, fold
from projections.compare import differences
from projections.models import MODELS
from tests.support.executions import Life, Lives, brief

SHOWN = 20
"""Differences named of one read model."""

ExecutionId = UUID | str


class Acked(Struct, frozen=True):
    """What some client was answered."""

    command_id: str
    stream: str
    position: int
    version: int


class Effect(Struct, frozen=True):
    """One thing an execution did to the world, and when; ``what`` happens once in an execution."""

    task_id: int
    execution_id: ExecutionId
    at: datetime
    what: str


class History(Struct, kw_only=True):
    """All that is known after a campaign; ``None`` and empty things are not judged.

    ``models`` are the served tables by name of the read model. ``receipts`` say at which position
    a command is kept that had nothing to record. ``stored_outputs`` are by execution,
    ``expected_outputs`` what those commands print when they reach their end.
    """

    events: list[Recorded]
    acked: list[Acked] = []
    receipts: dict[str, int] = {}
    bus: list[Recorded] | None = None
    models: dict[str, dict[str, Rows]] | None = None
    effects: list[Effect] = []
    stored_outputs: dict[ExecutionId, bytes] | None = None
    expected_outputs: dict[ExecutionId, bytes] = {}


def violations(history: History) -> list[str]:
    """Return every broken promise, a line each that names the rule and the place; none is best."""
    lives = Lives(history.events)
    return [
        *_positions(history.events),
        *_versions(history.events),
        *_answered(history),
        *_bus(history),
        *_models(history),
        *lives.faults,
        *_effects(history.effects, lives),
        *_outputs(history, lives),
    ]


# --- the log ---


def _positions(events: list[Recorded]) -> Iterator[str]:
    for wanted, recorded in enumerate(events, start=1):
        if recorded.position != wanted:
            yield f"positions: {recorded.position} stands where {wanted} should"
            return  # all that follow are off too


def _versions(events: list[Recorded]) -> Iterator[str]:
    known: Counter[str] = Counter()
    for recorded in events:
        known[recorded.stream] += 1
        if recorded.version != known[recorded.stream]:
            yield (
                f"versions: {recorded.stream} has {recorded.version} at position "
                f"{recorded.position}, not {known[recorded.stream]}"
            )
            known[recorded.stream] = recorded.version


def _answered(history: History) -> Iterator[str]:
    batches: dict[str, list[Recorded]] = {}
    for command_id, run in groupby(history.events, key=lambda each: each.command_id):
        batch = list(run)
        if command_id in batches:
            first = batches[command_id][0].position
            yield f"answered: {command_id} took effect at {first} and at {batch[0].position}"
        batches.setdefault(command_id, batch)
    for command_id, batch in batches.items():
        if len(streams := {each.stream for each in batch}) > 1:
            yield f"answered: {command_id} wrote to {', '.join(sorted(streams))}"
    for acked in history.acked:
        yield from _acknowledged(acked, batches.get(acked.command_id), history)


def _acknowledged(acked: Acked, batch: list[Recorded] | None, history: History) -> Iterator[str]:
    told = f"answered: {acked.command_id} was told {acked.stream} {acked.position}/{acked.version}"
    if batch is not None:
        last = batch[-1]
        if (last.stream, last.position, last.version) != _place(acked):
            yield f"{told}, stored as {last.stream} {last.position}/{last.version}"
    elif acked.command_id not in history.receipts:
        yield f"{told}, and is not stored"
    elif history.receipts[acked.command_id] != acked.position:
        yield f"{told}, kept at {history.receipts[acked.command_id]}"
    elif not 0 < acked.position <= len(history.events):
        yield f"{told}, where the log has nothing"
    else:
        at = history.events[acked.position - 1]
        if (at.stream, at.position, at.version) != _place(acked):
            yield f"{told}, where {at.stream} {at.position}/{at.version} stands"


def _place(acked: Acked) -> tuple[str, int, int]:
    return acked.stream, acked.position, acked.version


# --- what is made of the log ---


def _bus(history: History) -> Iterator[str]:
    if history.bus is None:
        return
    for n, recorded in enumerate(history.events):
        if n >= len(history.bus):
            yield f"bus: ends at {n}, the log at {len(history.events)}"
            return
        if _content(history.bus[n]) != _content(recorded):
            yield f"bus: position {recorded.position} differs: {brief(history.bus[n])}"
    for extra in history.bus[len(history.events) :]:
        yield f"bus: {brief(extra)} is beyond the log"


def _content(recorded: Recorded) -> tuple[int, UUID, str, str, bytes]:
    event = recorded.event_id, recorded.type, recorded.stream, bytes(recorded.data)
    return recorded.position, *event


def _models(history: History) -> Iterator[str]:
    for name, served in (history.models or {}).items():
        try:
            expected = fold(MODELS[name], history.events)
        except (ValueError, KeyError) as error:
            yield f"models: {name} cannot be folded: {error!r}"
            continue
        for line in islice(differences(expected, _decoded(served)), SHOWN):
            yield f"models: {name}: {line}"


def _decoded(tables: dict[str, Rows]) -> dict[str, Rows]:
    """Return tables whose JSON is read, as a database serves it; a fold still has it as text."""
    return {name: {key: _row(row) for key, row in rows.items()} for name, rows in tables.items()}


def _row(row: Row) -> Row:
    return {
        name: msgspec.json.decode(value) if isinstance(value, Raw) else value
        for name, value in row.items()
    }


# --- executions ---


def _effects(effects: list[Effect], lives: Lives) -> Iterator[str]:
    for (execution, what), count in Counter(
        (str(each.execution_id), each.what) for each in effects
    ).items():
        if count > 1:
            yield f"effect: {what!r} of {execution} happened {count} times"
    for each in effects:
        name = f"effect: {each.what!r} of {each.execution_id} (task-{each.task_id}) at {each.at}"
        life = lives.by_id.get(str(each.execution_id))
        if life is None:
            yield f"{name}: the log never started it"
        elif life.task != each.task_id:
            yield f"{name}: it is of task-{life.task}"
        elif each.at < life.started.recorded_at:
            yield f"{name}: before its start, {_when(life.started)}"
        elif life.ended is not None and each.at > life.ended.recorded_at:
            yield f"{name}: after its end, {_when(life.ended)}"


def _when(recorded: Recorded) -> str:
    return f"{brief(recorded)} at {recorded.recorded_at}"


def _outputs(history: History, lives: Lives) -> Iterator[str]:
    if history.stored_outputs is None:
        return
    stored = {str(key): data for key, data in history.stored_outputs.items()}
    expected = {str(key): data for key, data in history.expected_outputs.items()}
    for execution, life in lives.by_id.items():
        found = stored.get(execution, b"")
        yield from _counted(life, found)
        if execution in expected:
            yield from _exact(life, found, expected[execution])
    for execution in stored.keys() - lives.by_id.keys():
        yield f"output: of {execution}, which the log never started"


def _counted(life: Life, found: bytes) -> Iterator[str]:
    """Compare with what the runner said it printed, less what it said it had to drop."""
    match life.end:
        case did.TaskCompleted() | did.TaskFailed() | did.TaskCancelled() as end:
            kept = end.output_bytes - _dropped(end.cut)
            if len(found) != kept:
                yield f"output: {_of(life)}: {len(found)} bytes are stored of {kept}"


def _exact(life: Life, found: bytes, wanted: bytes) -> Iterator[str]:
    """Compare with what the command prints: all of it when it came to its end, else the begin."""
    done = isinstance(life.end, did.TaskCompleted)
    if found != wanted if done else not wanted.startswith(found):
        at = next((n for n, pair in enumerate(zip(found, wanted, strict=False)) if _off(pair)), -1)
        place = f"byte {at}" if at >= 0 else f"length {len(found)} of {len(wanted)}"
        yield f"output: {_of(life)}: differs at {place}"


def _off(pair: tuple[int, int]) -> bool:
    return pair[0] != pair[1]


def _of(life: Life) -> str:
    return f"task-{life.task}, started at {life.started.position}"


def _dropped(cut: Cut | None) -> int:
    return 0 if cut is None else cut.end - cut.start


def summary(history: History) -> Mapping[str, int]:
    """Return how much was judged, for people."""
    types = Counter(each.type for each in history.events)
    return {
        "events": len(history.events),
        "answers": len(history.acked),
        "tasks": types["task.created"],
        "executions": types["task.started"],
        "lost": types["task.execution_lost"],
        "effects": len(history.effects),
    }
