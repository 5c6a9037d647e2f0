"""The other read models, by example."""

from __future__ import annotations

from collections import Counter

import pytest

from events import project as was
from events import task as did
from events.secret import KeyMade, KeyResealed, SecretRemoved, SecretSet, SecretUse
from events.task import Status
from projections.base import ReadModel, Row, fold
from projections.executions import EXECUTIONS
from projections.outputs import OUTPUTS
from projections.projects import PROJECTS
from projections.secrets import SECRETS
from projections.stats import STATS
from projections.timeline import TIMELINE, summary
from tests.support.lives import (
    START,
    Chronicle,
    chronicle,
    created,
    execution,
    random_lives,
    started,
    statuses,
)

LOST = did.ExecutionLost(execution_id=execution(), epoch=1, runner_id="r1", begun=True)
FAILED = did.TaskFailed(
    execution_id=execution(),
    error="exit code 3",
    kind=did.FailureKind.EXIT_CODE,
    from_status=Status.RUNNING,
    exit_code=3,
    output_tail="no",
    duration_sec=1.5,
    output_bytes=900,
    cut=did.Cut(start=10, end=20),
)
RETRIED = did.TaskRetried(from_status=Status.FAILED, attempt=2, not_before=START)
DELETED = did.TaskDeleted(from_status=Status.FAILED)


def rows(model: ReadModel, table: str, *events: did.Event) -> list[Row]:
    """Return the rows of a table after these events of one task."""
    told = Chronicle()
    told.add("task-42", *events)
    return list(fold(model, told.recorded)[table].values())


def test_each_attempt_is_an_execution() -> None:
    """A retry adds a row and leaves the first attempt as it ended."""
    first, second = rows(
        EXECUTIONS,
        "executions",
        created(),
        did.StartRequested(),
        started(),
        FAILED,
        RETRIED,
        started(2, runner_id="r2"),
    )
    assert (first["attempt"], first["status"], first["exit_code"]) == (1, "failed", 3)
    assert (first["duration"], first["output_tail"], first["output_bytes"]) == (1.5, "no", 900)
    assert first["cut"] == {"start": 10, "end": 20}
    assert (second["attempt"], second["status"], second["runner_id"]) == (2, "running", "r2")


def test_a_lost_execution_stays_lost() -> None:
    """That its task fails for it does not change how the execution ended."""
    failed = did.TaskFailed(
        execution_id=None,
        error="somebody denied it",
        kind=did.FailureKind.DENIED,
        from_status=Status.RUNNING,
    )
    (row,) = rows(EXECUTIONS, "executions", created(), started(), LOST, failed)
    assert (row["status"], row["error"]) == ("lost", "its runner was lost")


@pytest.mark.parametrize(
    ("model", "table"),
    [(EXECUTIONS, "executions"), (OUTPUTS, "outputs"), (TIMELINE, "timeline")],
)
def test_a_deleted_task_leaves_no_rows(model: ReadModel, table: str) -> None:
    """What belongs to a deleted task is shown no more."""
    assert rows(model, table, created(), started(), FAILED, DELETED) == []


def test_the_timeline_tells_every_event() -> None:
    """One row an event, with a sentence and the data."""
    told = rows(TIMELINE, "timeline", created(), did.StartRequested(), started(), FAILED)
    assert [row["summary"] for row in told] == [
        "Filed",
        "Waits for a runner",
        "Attempt 1 started by r1",
        "Failed (exit_code): exit code 3",
    ]
    assert [row["version"] for row in told] == [1, 2, 3, 4]
    assert told[1]["actor"] == "user:1"


@pytest.mark.parametrize("event", did.TaskEvent.__args__)
def test_every_event_has_a_sentence(event: type[did.Event]) -> None:
    """No event of a task is told by its bare name alone."""
    assert event is did.TaskDeleted or event in summary.registry


def test_outputs_know_what_was_cut() -> None:
    """The index has the bytes, the cut, and whether more may come."""
    (running,) = rows(OUTPUTS, "outputs", created(), started())
    assert (running["bytes"], running["complete"]) == (0, False)
    (ended,) = rows(OUTPUTS, "outputs", created(), started(), FAILED)
    assert (ended["bytes"], ended["complete"]) == (900, True)
    assert (ended["cut_start"], ended["cut_end"], ended["attempt"]) == (10, 20, 1)
    (lost,) = rows(OUTPUTS, "outputs", created(), started(), LOST)
    assert lost["complete"] is True


@pytest.mark.parametrize("seed", range(40))
def test_stats_equal_a_recount(seed: int) -> None:
    """After any legal history the counts are those of the tasks counted one by one."""
    recorded = chronicle(random_lives(seed, 6, steps=25))
    counted = {k: row["tasks"] for k, row in fold(STATS, recorded)["task_counts"].items()}
    recount = Counter(
        (2 if task_id % 3 == 0 else 1, status.value)
        for task_id, status in statuses(recorded).items()
    )
    assert {key: number for key, number in counted.items() if number} == dict(recount)


def test_durations_are_summed() -> None:
    """Every execution that took time counts, whichever way it ended."""
    told = rows(STATS, "task_durations", created(), started(), FAILED, RETRIED, started(2), FAILED)
    assert told == [{"project_id": 1, "executions": 2, "duration_ms": 3000}]


def test_a_task_without_a_project_is_refused() -> None:
    """Counting it nowhere would make the counts wrong for ever."""
    told = Chronicle()
    told.add("task-42", created(), project_id=None)
    with pytest.raises(ValueError, match="no project"):
        fold(STATS, told.recorded)


def test_projects_and_members() -> None:
    """A project has its owner, and members that come, change role and go."""
    told = Chronicle()
    told.add(
        "project-1",
        was.ProjectCreated(project_id=1, name="Pandar", owner="ann"),
        was.ProjectUpdated(description="ours"),
        was.MemberAdded(user="bob", role=was.MemberRole.VIEWER),
        was.MemberAdded(user="eve", role=was.MemberRole.MEMBER),
        was.MemberAdded(user="bob", role=was.MemberRole.MANAGER),
        was.MemberRemoved(user="eve"),
    )
    tables = fold(PROJECTS, told.recorded)
    (project,) = tables["projects"].values()
    assert (project["name"], project["owner"], project["description"]) == ("Pandar", "ann", "ours")
    assert (project["version"], project["position"]) == (6, 6)
    assert {key: row["role"] for key, row in tables["members"].items()} == {(1, "bob"): "manager"}


def test_streams_of_others_are_left_alone() -> None:
    """A model hears only what it handles."""
    told = Chronicle()
    (recorded,) = told.add("project-1", was.ProjectUpdated(name="x"))
    assert EXECUTIONS.project(recorded) == []


def test_secrets_are_known_by_name_alone() -> None:
    """Who set the present value when; a removed one is gone, a key is the present one."""
    told = Chronicle()
    told.add(
        "project_secrets-7",
        KeyMade(key_id="k", sealed="k1.old.x"),
        SecretSet(name="A", sealed="v1.k.one"),
        SecretSet(name="B", sealed="v1.k.two", use=SecretUse.GIT, description="d"),
        SecretSet(name="B", sealed="v1.k.three", use=SecretUse.GIT, description="e"),
        SecretRemoved(name="A"),
        KeyResealed(key_id="k", sealed="k1.new.x"),
    )
    tables = fold(SECRETS, told.recorded)
    third, last = told.recorded[3], told.recorded[5]
    assert list(tables["secrets"].values()) == [
        {
            "project_id": 7,
            "name": "B",
            "use": "git",
            "description": "e",
            "set_by": third.actor,
            "set_at": third.recorded_at,
        }
    ]
    assert list(tables["data_keys"].values()) == [
        {"project_id": 7, "key_id": "k", "sealed": "k1.new.x", "sealed_at": last.recorded_at}
    ]
