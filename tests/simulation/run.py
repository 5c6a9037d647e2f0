"""One run: a seed in, a history and what is wrong with it out."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

from msgspec import Struct

from events import codec
from events import task as did
from events.task import TERMINAL, Status
from pandar_daemon.domain.task_state import Task, evolve, initial
from pandar_daemon.services.claims import keys_of
from projections.models import MODELS
from tests.simulation.hosts import Script
from tests.simulation.loop import virtual_loop
from tests.simulation.node import Simulation
from tests.simulation.people import People
from tests.simulation.plan import FAULTY_SEC, Fault, Menu, Storm, begin, heal, plan
from tests.simulation.site import PROCESSES, Rules, Site
from tests.simulation.trace import Trace, logging_to
from tests.support.history import History, violations

HEAL_SEC = 600.0
"""How long, in its own time, everything may take to come to rest after the last fault."""
LOOK_SEC = 0.5


class Outcome(Struct, kw_only=True):
    """What a run showed. ``wrong`` is what the promises forbid; nothing is best."""

    seed: str
    wrong: list[str]
    history: History
    digest: str
    seconds: float
    lines: list[str] = []


def simulate(
    seed: int | str,
    *,
    tasks: int = 100,
    faults: int = 50,
    rules: Rules | None = None,
    menu: Menu | Storm | None = None,
    keep: bool = False,
) -> Outcome:
    """Run a seed; ``keep`` what happened, line by line."""
    trace = Trace()
    trace.lines = [] if keep else None
    folder = Path(tempfile.mkdtemp(prefix="pandar-sim-"))
    try:
        with logging_to(trace), virtual_loop(f"{seed}") as loop:
            site = Site(Simulation(f"{seed}", loop, trace), folder, rules or Rules())
            people = People(site, f"{seed}")
            chosen = plan(f"{seed}", faults, menu or Menu())
            wrong = loop.run_until_complete(_scenario(site, people, chosen, tasks))
            seconds, trace.over = loop.time(), True
        history = history_of(site, people)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Outcome(
        seed=f"{seed}",
        wrong=[*wrong, *site.faults, *_refused(people), *_held(site), *violations(history)],
        history=history,
        digest=trace.digest(),
        seconds=seconds,
        lines=trace.lines or [],
    )


async def _scenario(site: Site, people: People, faults: list[Fault], tasks: int) -> list[str]:
    """Let people and faults do their worst, then heal; return what did not come to rest."""
    for name in PROCESSES:
        site.start(name)
    await people.start(people.begin())
    working = people.start(people.work(tasks, FAULTY_SEC))
    await _go_wrong(site, faults)
    heal(site)
    healed_at = site.sim.loop.time()
    site.sim.trace.add("healed")
    while left := restless(site, working):
        if site.sim.loop.time() > healed_at + HEAL_SEC:
            break
        await asyncio.sleep(LOOK_SEC)
    if working.done():
        await working  # to hear of its failure
    return left


async def _go_wrong(site: Site, faults: Iterable[Fault]) -> None:
    loop = site.sim.loop
    began = loop.time()
    ends: list[asyncio.TimerHandle] = []
    for fault in faults:
        await asyncio.sleep(max(0.0, began + fault.at_sec - loop.time()))
        ends.append(site.sim.later(fault.for_sec, begin(site, fault)))
    await asyncio.sleep(max(0.0, began + FAULTY_SEC - loop.time()))
    for end in ends:
        end.cancel()


def restless(site: Site, working: asyncio.Task[None]) -> list[str]:
    """Return what is still to come: unanswered people, moving tasks, readers behind the log."""
    head = len(site.log.events)
    behind = [at for at in site.views.checkpoints() if at.live and at.position < head]
    left = [f"rest: {at.model} is at {at.position} of {head}" for at in behind]
    if len({at.model for at in site.views.checkpoints() if at.live}) < len(MODELS):
        left.append("rest: not every read model is served")
    if not working.done():
        left.append("rest: somebody is not answered")
    stored = len(site.bus.streams[site.log.epoch])
    if stored != head:
        left.append(f"rest: the bus is at {stored} of {head}")
    left += [f"rest: {name}: output is not published" for name in _unpublished(site)]
    if not left:
        left = [f"rest: task {task.task_id} is {task.status}" for task in _moving(site)]
    return left


def _unpublished(site: Site) -> Iterable[str]:
    for name, machine in site.machines.items():
        if any((machine.data / "spool").glob("*.out")):
            yield name


def _moving(site: Site) -> Iterable[Task]:
    now = site.sim.now()
    for task in tasks_of(site).values():
        later = task.not_before is not None and task.not_before > now
        due = task.queued and not later
        if task.scheduled_at is not None and not task.queued:
            due = task.scheduled_at <= now
        if task.status is Status.PENDING and not due:
            continue
        if task.status not in TERMINAL and task.status is not Status.WAITING_CONFIRMATION:
            yield task


def _refused(people: People) -> Iterable[str]:
    """Whoever asks again gets the first answer again."""
    for command_id, answers in people.answers.items():
        if len(answers) > 1:
            yield f"answered: {command_id} was told {' and '.join(sorted(answers))}"


def _held(site: Site) -> Iterable[str]:
    """Leases and keys are those of the executions that live."""
    tasks = list(tasks_of(site).values())
    live = {t.task_id: t.execution.execution_id for t in tasks if t.execution is not None}
    leases = {n: row.execution_id for n, row in site.log.leases.items()}
    for task_id in sorted({n for n, _ in live.items() ^ leases.items()}):
        yield f"lease: of task {task_id} is not as the log says"
    for key in sorted({key for task in tasks for key in keys_of(task)} ^ site.log.keys.keys()):
        yield f"key: {key.scope} {key.key} is not held as the log says"


def tasks_of(site: Site) -> dict[str, Task]:
    """Return all tasks as the log has them."""
    tasks: dict[str, Task] = {}
    for stream, recorded in site.log.streams.items():
        category, _, number = stream.partition("-")
        if category == "task" and recorded:
            task = initial(int(number))
            for each in recorded:
                event = codec.decode(each)
                task = task if event is None else evolve(task, event)
            tasks[stream] = task
    return tasks


def history_of(site: Site, people: People) -> History:
    """Return all that is known of a run."""
    live = {name: site.views.live(name) for name in MODELS}
    return History(
        events=site.log.events,
        acked=people.acked,
        receipts={each.command_id: each.position for each in site.log.receipts.values()},
        bus=site.bus.streams[site.log.epoch],
        models={name: g.tables for name, g in live.items() if g is not None},
        effects=site.effects,
        stored_outputs=_stored(site),
        expected_outputs=_expected(site),
    )


def _stored(site: Site) -> dict[UUID | str, bytes]:
    found: dict[UUID | str, bytearray] = {}
    for stored in site.bus.outputs.values():
        for execution_id, chunk in sorted(stored, key=lambda each: each[1].offset):
            data = found.setdefault(execution_id, bytearray())
            data[chunk.offset : chunk.offset + len(chunk.data)] = chunk.data
    return {execution_id: bytes(data) for execution_id, data in found.items()}


def _expected(site: Site) -> dict[UUID | str, bytes]:
    tasks = tasks_of(site)
    return {
        event.execution_id: Script.parse(tasks[each.stream].command).output(event.execution_id)
        for each in site.log.events
        if each.type == "task.started"
        if isinstance(event := codec.decode(each), did.TaskStarted)
    }
