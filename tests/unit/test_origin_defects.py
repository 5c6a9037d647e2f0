"""The thirteen defects of the program this API comes from, each where the rules can have it.

Three live elsewhere and are proven there: the notifications nobody made (4), and the answers of
HTTP (6, 7, 8), which the tests of the API hold.
"""

from __future__ import annotations

import msgspec
import pytest

from events import codec
from events import commands as do
from events import running as tell
from events import task as did
from events.task import Status
from pandar_daemon.domain.options import validate
from pandar_daemon.domain.refusals import Rejected
from pandar_daemon.domain.task_state import Task, evolve, initial
from pandar_daemon.services.claims import claims
from projections.stats import STATS
from tests.support import stories as s
from tests.support.given import NOW, TASK_ID, given, given_task, recorded


def test_1_approval_does_not_ask_again() -> None:
    """Once approved the same request is not made again, and no second execution starts."""
    task, _ = given(s.waiting()).after(s.confirm())
    assert task.task.status is Status.RUNNING
    task.when(s.dispatch(2)).refuses(
        Rejected, f"cannot dispatch task {TASK_ID} while it is running", state="running"
    )
    task.when(s.ask()).refuses(
        Rejected,
        f"confirmation {s.confirmation(1)} was already decided by ann: approve",
        state="running",
    )


def test_2_a_started_task_is_run() -> None:
    """What somebody started by hand waits for a runner, and the next one gets it."""
    task, _ = given(s.filed()).after(do.StartTask())
    assert task.task.status is Status.PENDING
    task.when(s.dispatch()).then([s.started()])


def test_3_what_waits_can_be_cancelled() -> None:
    """A task that waits for a confirmation can be cancelled."""
    task, _ = given(s.waiting()).after(do.CancelTask())
    task, _ = task.after(s.finish(tell.Outcome.CANCELLED))
    assert task.task.status is Status.CANCELLED


@pytest.mark.parametrize(
    "prompt",
    [
        "summarize the test suite",
        "fix issue 7 and describe the result",
        "ensure the results of the survey are summed up",
        "consult the su man page",
        "remove the -rf flag from the docs",
    ],
)
def test_5_ordinary_words_are_no_danger(prompt: str) -> None:
    """A word that merely contains a dangerous one is accepted."""
    command = do.CreateTask(name="a", command=prompt, project_id=1)
    validate(command, ["claude"], NOW)


def test_9_updated_metadata_stays() -> None:
    """What an update wrote is there afterwards, and nothing wrote into the old object."""
    task = given(s.filed(context="old"))
    updated, _ = task.after(s.update(metadata={"context": "new"}))
    assert updated.task.metadata == {"context": "new"}
    assert task.task.metadata == {"context": "old"}


def test_10_two_runners_are_one_execution() -> None:
    """Two decisions on the same state acquire the same lease: the log lets one of them in."""
    task = given(s.queued())
    (first,) = task.when(s.dispatch(1)).happened
    (second,) = task.when(s.dispatch(2)).happened
    for event in (first, second):
        lease = claims(task.task, [event], ttl_sec=8.0).lease
        assert lease is not None
        assert (lease.op, lease.task_id) == ("acquire", TASK_ID)
    given_task(task.task, [first]).when(s.dispatch(2)).refuses(
        Rejected, f"cannot dispatch task {TASK_ID} while it is running", state="running"
    )


def test_11_metadata_is_obeyed() -> None:
    """Retries are made, and the key is held while, and only while, the execution is live."""
    queued = given(s.queued(max_retries=1, concurrency_key="db"))
    started = [s.started()]
    assert [k.key for k in claims(queued.task, started, ttl_sec=8.0).reserve] == ["1:db"]
    running = given_task(queued.task, started)
    ended = running.when(s.finish(tell.Outcome.FAILED)).happened
    assert [codec.name_of(event) for event in ended] == ["task.failed", "task.retried"]
    assert [k.key for k in claims(running.task, ended, ttl_sec=8.0).release] == ["1:db"]


def test_12_a_retry_wipes_nothing() -> None:
    """A retry is one more event behind what the failed attempt left."""
    failed = [*s.running(), s.failed()]
    (retried,) = given(failed).when(do.RetryTask()).happened
    assert isinstance(retried, did.TaskRetried)
    assert retried.attempt == 2
    kept = codec.decode(recorded(failed[-1]))
    assert isinstance(kept, did.TaskFailed)
    assert (kept.output_tail, kept.error, kept.exit_code) == ("no\n", "exit code 2", 2)


def test_13_only_what_ended_counts_as_ended() -> None:
    """At every moment of a life the task is counted in exactly the status it is in."""
    life: list[did.TaskEvent] = [
        *s.waiting(),
        s.approved(),
        s.failed(),
        s.retried(2),
        s.started(2),
        s.completed(2),
    ]
    task: Task = initial(TASK_ID)
    counts: dict[str, int] = {}
    for event in life:
        task = evolve(task, event)
        for change in STATS.on(recorded(event), event):
            row = msgspec.to_builtins(change)
            if "tasks" in row["values"]:
                status = row["key"][1]
                counts[status] = counts.get(status, 0) + row["values"]["tasks"]
        assert {name for name, tasks in counts.items() if tasks} == {task.status}
        assert set(counts.values()) <= {0, 1}
