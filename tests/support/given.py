"""Rules as sentences: ``given([...]).when(command).then([...])``.

Every `When` also proves what holds of any decision: what happened says truly which status it left,
and is read back from the log as it was written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from msgspec import Raw, Struct

from events import codec
from events.envelope import Recorded
from events.project import ProjectEvent
from events.task import Event, TaskEvent
from pandar_daemon.domain import project as project_rules
from pandar_daemon.domain import task as task_rules
from pandar_daemon.domain import task_state
from pandar_daemon.domain.project import Project, ProjectCommand
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.domain.task import TaskCommand
from pandar_daemon.domain.task_rules import Ask
from pandar_daemon.domain.task_state import Task

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TASK_ID = 42
PROJECT_ID = 1
USER = "ann"

S = TypeVar("S")


class When(Struct, frozen=True):
    """What came of a command: what happened, or why it was refused."""

    state: object
    happened: tuple[Event, ...] = ()
    refusal: Refusal | None = None

    def then(self, expected: Sequence[Event]) -> None:
        """Prove that exactly this happened."""
        if self.refusal is not None:
            raise self.refusal
        assert list(self.happened) == list(expected)

    def then_nothing(self) -> None:
        """Prove that it was accepted and nothing happened."""
        self.then([])

    def refuses(
        self, kind: type[Refusal], detail: str | None = None, *, state: str | None = None
    ) -> None:
        """Prove that it was refused in exactly this way, ``detail`` being the whole text."""
        assert self.happened == ()
        assert self.refusal is not None, "it was accepted"
        assert type(self.refusal) is kind
        assert detail in {None, self.refusal.problem.detail}
        assert self.refusal.problem.state == state


class Given(Struct, frozen=True):
    """A task to which some things happened."""

    task: Task

    def when(self, command: TaskCommand, *, at: datetime = NOW, user: str = USER) -> When:
        """Return what the rules say to a command of ``user`` at a time."""
        return _when(
            self.task,
            lambda: task_rules.decide(self.task, command, Ask(at, user)),
            task_state.evolve,
        )

    def after(
        self, command: TaskCommand, *, at: datetime = NOW, user: str = USER
    ) -> tuple[Given, list[TaskEvent]]:
        """Return the task after an accepted command, and what happened."""
        happened = task_rules.decide(self.task, command, Ask(at, user))
        return given_task(self.task, happened), happened


class GivenProject(Struct, frozen=True):
    """A project to which some things happened."""

    project: Project

    def when(self, command: ProjectCommand, *, user: str = USER) -> When:
        """Return what the rules say to a command."""
        return _when(
            self.project,
            lambda: project_rules.decide(self.project, command, user),
            project_rules.evolve,
        )


def given(events: Sequence[TaskEvent]) -> Given:
    """Return the task these events make."""
    return given_task(task_state.initial(TASK_ID), events)


def given_task(task: Task, events: Sequence[Event]) -> Given:
    """Return what these events make of a task."""
    for event in events:
        task = task_state.evolve(task, event)
    return Given(task)


def given_project(events: Sequence[ProjectEvent]) -> GivenProject:
    """Return the project these events make."""
    project = project_rules.initial(PROJECT_ID)
    for event in events:
        project = project_rules.evolve(project, event)
    return GivenProject(project)


def _when(state: S, decide: Callable[[], Sequence[Event]], evolve: Callable[[S, Event], S]) -> When:
    try:
        happened = tuple(decide())
    except Refusal as refusal:
        return When(state, refusal=refusal)
    prove_told_truly(state, happened, evolve)
    return When(state, happened)


def prove_told_truly(state: S, happened: Sequence[Event], evolve: Callable[[S, Event], S]) -> None:
    """Prove ``from_status`` is the status before each event, and each survives the log."""
    for event in happened:
        if hasattr(event, "from_status"):
            assert event.from_status is getattr(state, "status", None), event
        assert codec.decode(recorded(event)) == event
        state = evolve(state, event)


def recorded(event: Event) -> Recorded:
    """Return an event as the log would hold it."""
    return envelope(codec.name_of(event), codec.encode(event), event.SCHEMA_VERSION)


def envelope(type_: str, data: bytes, schema_version: int = 1) -> Recorded:
    """Return a payload as the log would hold it, whatever it is."""
    return Recorded(
        position=7,
        stream=f"task-{TASK_ID}",
        version=3,
        event_id=UUID("0195512a-7c00-7000-8000-000000000001"),
        type=type_,
        schema_version=schema_version,
        recorded_at=NOW,
        actor=f"user:{USER}",
        project_id=PROJECT_ID,
        command_id="c-1",
        correlation_id="c-1",
        causation_id=None,
        traceparent=None,
        data=Raw(data),
    )
