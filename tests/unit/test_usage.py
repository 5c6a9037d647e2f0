"""Usage and cost, counted by project, agent, day and task."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from msgspec import structs

from events import task as did
from events.task import FailureKind, Status, Usage
from projections.base import Rows, fold
from projections.usage import COUNTED, MOST, USAGE, has_unknown_cost
from tests.support.lives import Chronicle, chronicle, created, execution, random_lives, started

DAY = date(2026, 1, 2)  # of `lives.START`
USED = Usage(
    cpu_sec=1.25,
    max_rss_bytes=9,
    input_tokens=2_000,
    output_tokens=84,
    cached_tokens=1_400,
    thought_tokens=10,
    cost_usd=0.0421,
)
SUMS = {
    "executions": 1,
    "unpriced_executions": 0,
    "cpu_ms": 1_250,
    "input_tokens": 2_000,
    "output_tokens": 84,
    "cached_tokens": 1_400,
    "thought_tokens": 10,
    "cost_micros": 42_100,
}
NOTHING = {**dict.fromkeys(COUNTED, 0), "executions": 1}
DONE = did.TaskCompleted(
    execution_id=execution(),
    exit_code=0,
    output_tail="",
    duration_sec=1.0,
    usage=USED,
    agent="claude",
)
FAILED = did.TaskFailed(
    execution_id=execution(),
    error="no",
    kind=FailureKind.AGENT,
    from_status=Status.RUNNING,
    usage=USED,
    agent="claude",
)
PARKED = did.TaskParked(execution_id=execution(), usage=USED, agent="claude")
PAUSED = did.TaskPaused(
    execution_id=execution(),
    reason="quota",
    until=datetime(2026, 1, 3, tzinfo=UTC),
    usage=USED,
    agent="claude",
)
CANCELLED = did.TaskCancelled(
    from_status=Status.RUNNING, execution_id=execution(), usage=USED, agent="claude"
)
LOST = did.ExecutionLost(
    execution_id=execution(), epoch=1, runner_id="r1", begun=True, agent="claude"
)


def tables(*events: did.Event) -> dict[str, Rows]:
    """Return both tables after these events of task 42 in project 1."""
    told = Chronicle()
    told.add("task-42", created(), started(), *events)
    return fold(USAGE, told.recorded)


def sums(rows: Rows) -> dict[str, int]:
    """Return the sums of all rows of a table."""
    return {name: sum(int(str(row[name])) for row in rows.values()) for name in COUNTED}


@pytest.mark.parametrize("end", [DONE, FAILED, PARKED, PAUSED, CANCELLED], ids=type)
def test_every_end_of_an_execution_counts(end: did.Event) -> None:
    """However it ends, what it consumed is its agent's, its project's, its day's and its task's."""
    counted = tables(end)
    assert counted["usage_of_days"] == {
        (1, "claude", DAY): {"project_id": 1, "agent": "claude", "day": DAY, **SUMS}
    }
    (key,) = counted["usage_of_tasks"]
    assert key == (42, 1, "claude", DAY)
    assert sums(counted["usage_of_tasks"]) == SUMS


def test_executions_add_up() -> None:
    """One that was parked and the one that went on are two, of one task."""
    counted = tables(PARKED, started(2), structs.replace(DONE, execution_id=execution(2)))
    assert sums(counted["usage_of_tasks"]) == {name: 2 * value for name, value in SUMS.items()}


def test_another_agent_is_another_sum() -> None:
    """What the agent that took over consumed is not counted as the first one's."""
    taken_over = structs.replace(DONE, execution_id=execution(2), agent="codex")
    counted = tables(FAILED, started(2), taken_over)
    assert list(counted["usage_of_days"]) == [(1, "claude", DAY), (1, "codex", DAY)]


def test_a_plain_command_has_no_agent() -> None:
    """Its time is counted under the empty name; it used no tokens, so nothing is unpriced."""
    end = structs.replace(DONE, agent=None, usage=Usage(cpu_sec=0.5))
    counted = tables(end)["usage_of_days"]
    assert counted[(1, "", DAY)]["cpu_ms"] == 500
    assert sums(counted)["unpriced_executions"] == 0


def test_a_lost_execution_counts_with_nothing() -> None:
    """It was one; what it consumed nobody knows, and its task's failure is not a second one."""
    failed = structs.replace(FAILED, execution_id=None, usage=Usage(), agent=None)
    counted = tables(LOST, failed)
    assert sums(counted["usage_of_days"]) == NOTHING
    assert list(counted["usage_of_tasks"]) == [(42, 1, "claude", DAY)]


def test_a_cancelled_task_that_did_not_run_counts_nothing() -> None:
    """Without an execution nothing was consumed."""
    never = did.TaskCancelled(from_status=Status.PENDING)
    assert tables(never) == {"usage_of_days": {}, "usage_of_tasks": {}}


def test_tokens_without_a_cost_are_told_apart() -> None:
    """A sum of costs must not look complete when an agent told none."""
    counted = tables(structs.replace(DONE, usage=structs.replace(USED, cost_usd=None)))
    assert sums(counted["usage_of_days"]) == {**SUMS, "unpriced_executions": 1, "cost_micros": 0}


@pytest.mark.parametrize(
    ("usage", "unknown"),
    [
        (Usage(), False),
        (Usage(input_tokens=0, output_tokens=0), False),
        (Usage(output_tokens=1), True),
        (Usage(cached_tokens=1), True),
        (Usage(input_tokens=5, cost_usd=0.0), False),
    ],
)
def test_unknown_cost(usage: Usage, unknown: bool) -> None:
    """Only tokens cost, and a cost of nothing is known."""
    assert has_unknown_cost(usage) is unknown


def test_a_day_begins_at_midnight_in_utc() -> None:
    """The day is that of the end, whatever the zone of the machine."""
    told = Chronicle()
    told.add("task-42", created(), started(), DONE)
    east = datetime.fromisoformat("2026-01-03T01:30:00+02:00")
    recorded = [structs.replace(told.recorded[-1], recorded_at=east)]
    assert list(fold(USAGE, recorded)["usage_of_days"]) == [(1, "claude", DAY)]


def test_a_deleted_task_was_paid_for() -> None:
    """What it consumed stays in every sum."""
    deleted = did.TaskDeleted(from_status=Status.COMPLETED)
    assert tables(DONE, deleted) == tables(DONE)


def test_what_no_execution_can_have_used_is_bounded() -> None:
    """A runner that tells nonsense cannot make the sums overflow, or shrink."""
    wild = Usage(
        cpu_sec=1e300, input_tokens=2**62, output_tokens=-5, cost_usd=1e300, cached_tokens=0
    )
    counted = sums(tables(structs.replace(DONE, usage=wild))["usage_of_days"])
    assert (counted["cpu_ms"], counted["input_tokens"], counted["cost_micros"]) == (MOST,) * 3
    assert (counted["output_tokens"], counted["cached_tokens"]) == (0, 0)


def test_an_old_name_of_any_length_can_be_stored() -> None:
    """An index holds only so much, and no NUL."""
    (key,) = tables(structs.replace(DONE, agent="a\x00" * 5_000))["usage_of_days"]
    assert key[1] == "a\N{REPLACEMENT CHARACTER}" * 32


@pytest.mark.parametrize("seed", range(20))
def test_both_tables_tell_the_same(seed: int) -> None:
    """After any legal history each execution that is over is counted once, in both."""
    recorded = chronicle(random_lives(seed, 6, steps=25))
    started_ = sum(one.type == "task.started" for one in recorded)
    counted = fold(USAGE, recorded)
    days, tasks = sums(counted["usage_of_days"]), sums(counted["usage_of_tasks"])
    assert days == tasks
    live = started_ - days["executions"]
    assert 0 <= live <= 6
