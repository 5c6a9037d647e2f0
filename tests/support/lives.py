"""Events for tests: told one by one, or whole random lives as the rules allow them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from events import codec
from events import commands as do
from events import running as tell
from events import task as did
from events.envelope import Recorded
from events.ids import task_stream
from events.task import Event, FailureKind, Json, Priority, Status
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.domain.task import TaskCommand, decide
from pandar_daemon.domain.task_execution import Dispatch
from pandar_daemon.domain.task_rules import Ask
from pandar_daemon.domain.task_state import Task, evolve, initial

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Chronicle:
    """A log in memory: envelopes with dense positions and versions, a second apart."""

    def __init__(self) -> None:
        self.recorded: list[Recorded] = []
        self._versions: dict[str, int] = {}

    def add(
        self, stream: str, *events: Event, project_id: int | None = 1, actor: str = "user:1"
    ) -> list[Recorded]:
        """Record events of one stream; return them as recorded."""
        return [self._record(stream, event, project_id, actor) for event in events]

    def _record(self, stream: str, event: Event, project_id: int | None, actor: str) -> Recorded:
        position = len(self.recorded) + 1
        self._versions[stream] = self._versions.get(stream, 0) + 1
        recorded = Recorded(
            position=position,
            stream=stream,
            version=self._versions[stream],
            event_id=UUID(int=position),
            type=codec.name_of(event),
            schema_version=event.SCHEMA_VERSION,
            recorded_at=START + timedelta(seconds=position),
            actor=actor,
            project_id=project_id,
            command_id=f"c{position}",
            correlation_id=f"c{position}",
            causation_id=None,
            traceparent=None,
            data=codec.raw(codec.encode(event)),
        )
        self.recorded.append(recorded)
        return recorded


def created(task_id: int = 42, *, project_id: int = 1, **fields: object) -> did.TaskCreated:
    """Return the filing of a task, whose fields a test may name."""
    given: dict[str, object] = {
        "name": "Nightly audit",
        "command": "codex audit --fix",
        "created_by": "user:1",
        **fields,
    }
    return did.TaskCreated(task_id=task_id, project_id=project_id, **given)  # type: ignore[arg-type]


def started(attempt: int = 1, *, runner_id: str = "r1") -> did.TaskStarted:
    """Return the start of an attempt, its execution being `execution`."""
    return did.TaskStarted(
        execution_id=execution(attempt), attempt=attempt, epoch=attempt, runner_id=runner_id
    )


def execution(attempt: int = 1) -> UUID:
    """Return the id of the execution of an attempt."""
    return UUID(int=1000 + attempt)


def random_life(rng: random.Random, task_id: int, *, steps: int = 12) -> list[did.TaskEvent]:
    """Return what happened to a task after random commands, each accepted or refused by the rules.

    The same seed gives the same life.
    """
    task, life = initial(task_id), list[did.TaskEvent]()
    for n in range(steps):
        at = START + timedelta(hours=n)
        try:
            events = decide(task, _command(rng, task, at), Ask(at, "1"))
        except Refusal:
            continue
        for event in events:
            task = evolve(task, event)
        life += events
    return life


def _command(rng: random.Random, task: Task, at: datetime) -> TaskCommand:
    if task.status is None:
        return _create(rng)
    live = None if task.execution is None else (task.execution.execution_id, task.execution.epoch)
    asked = _asked(rng, task, at)
    return rng.choice(asked if live is None else [*asked, *_said(rng, task.task_id, live, at)])


def _create(rng: random.Random) -> do.CreateTask:
    metadata: Json = {
        "max_retries": rng.randrange(3),
        "on_lost": rng.choice(["retry", "confirm", "fail"]),
        "on_deny": rng.choice(["continue", "cancel"]),
    }
    return do.CreateTask(
        name=rng.choice(["audit", "fix", "naïve test 漢字"]),
        command="true",
        project_id=1,
        priority=rng.choice(list(Priority)),
        metadata=metadata,
    )


def _asked(rng: random.Random, task: Task, at: datetime) -> list[TaskCommand]:
    waiting = UUID(int=0) if task.pending is None else task.pending.confirmation_id
    return [
        do.StartTask(),
        do.CancelTask(reason="enough"),
        do.RetryTask(),
        do.DeleteTask() if rng.random() < 0.1 else do.StartTask(),
        do.UpdateTask(priority=rng.choice(list(Priority)), metadata={"n": rng.randrange(9)}),
        do.ConfirmTask(decision=rng.choice(list(do.Decision)), reason="so be it"),
        do.ExpireConfirmation(confirmation_id=waiting),
        Dispatch(execution_id=_id(rng), runner_id=f"r{rng.randrange(3)}"),
        Dispatch(execution_id=_id(rng), runner_id=f"r{rng.randrange(3)}"),
    ]


def _said(
    rng: random.Random, task_id: int, live: tuple[UUID, int], at: datetime
) -> list[TaskCommand]:
    execution_id, epoch = live
    finish = tell.FinishExecution(
        task_id=task_id,
        execution_id=execution_id,
        epoch=epoch,
        outcome=rng.choice(list(tell.Outcome)),
        kind=rng.choice(list(FailureKind)),
        exit_code=rng.randrange(3),
        error=rng.choice(["", "it broke"]),
        output_tail="some\x00 output",
        output_bytes=rng.randrange(100),
        cut=rng.choice([None, did.Cut(start=1, end=2)]),
        duration_sec=rng.choice([0.0, 1.5]),
    )
    progress = tell.ReportProgress(
        task_id=task_id, execution_id=execution_id, epoch=epoch, progress=rng.randrange(101)
    )
    ask = tell.AskConfirmation(
        task_id=task_id,
        execution_id=execution_id,
        epoch=epoch,
        confirmation_id=_id(rng),
        gate="git_push",
        card={"what": "push\x00"},
        expires_at=at,
    )
    lose = do.LoseExecution(
        execution_id=execution_id,
        epoch=epoch,
        begun=rng.random() < 0.8,
        confirmation_id=_id(rng),
        expires_at=at,
    )
    return [finish, progress, ask, ask, lose]


def _id(rng: random.Random) -> UUID:
    return UUID(int=rng.getrandbits(128))


def random_lives(seed: int, tasks: int, *, steps: int = 12) -> list[tuple[int, did.TaskEvent]]:
    """Return the lives of several tasks, interleaved, as ``(task_id, event)``."""
    rng = random.Random(seed)
    lives = {n: iter(random_life(rng, n, steps=steps)) for n in range(1, tasks + 1)}
    return list(_shuffled(rng, lives))


def _shuffled(
    rng: random.Random, lives: dict[int, Iterator[did.TaskEvent]]
) -> Iterator[tuple[int, did.TaskEvent]]:
    while lives:
        task_id = rng.choice(list(lives))
        event = next(lives[task_id], None)
        if event is None:
            del lives[task_id]
        else:
            yield task_id, event


def chronicle(lives: Iterable[tuple[int, did.TaskEvent]]) -> list[Recorded]:
    """Return events of tasks as a log would hold them; a third of the tasks are of project 2."""
    told = Chronicle()
    for task_id, event in lives:
        told.add(task_stream(task_id), event, project_id=2 if task_id % 3 == 0 else 1)
    return told.recorded


def statuses(recorded: Iterable[Recorded]) -> dict[int, Status]:
    """Return the status of every task that is not deleted, by the rules' own reckoning."""
    tasks: dict[int, Task] = {}
    for one in recorded:
        event, id_ = codec.decode(one), int(one.stream.partition("-")[2])
        if event is not None:
            tasks[id_] = evolve(tasks.get(id_, initial(id_)), event)
    return {id_: t.status for id_, t in tasks.items() if t.status is not None and not t.deleted}
