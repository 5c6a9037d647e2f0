"""The end of an execution says what it consumed, and which agent that was."""

from __future__ import annotations

import pytest
from msgspec import structs

from events import running as tell
from events import task as did
from events.running import Outcome
from events.task import Usage
from tests.support import stories as s
from tests.support.given import NOW, TASK_ID, Given, given

USED = Usage(cpu_sec=1.0, input_tokens=10, output_tokens=5, cost_usd=0.5)
STARTED = structs.replace(s.started(), agent="claude")
SWITCHED = did.AgentSwitched(execution_id=s.execution(1), from_agent="claude", to_agent="codex")


def running() -> list[did.TaskEvent]:
    """Return a task whose first execution is an agent's."""
    return [*s.queued(agent="claude", max_retries=1), STARTED]


def finish(outcome: Outcome, n: int = 1) -> tell.FinishExecution:
    """Return the report of the n-th execution."""
    return tell.FinishExecution(
        task_id=TASK_ID,
        execution_id=s.execution(n),
        epoch=n,
        outcome=outcome,
        usage=USED,
        until=NOW,
    )


def ended(task: Given, outcome: Outcome) -> did.Event:
    """Return how the first execution ended."""
    return task.when(finish(outcome)).happened[0]


@pytest.mark.parametrize(
    ("outcome", "end"),
    [
        (Outcome.COMPLETED, did.TaskCompleted),
        (Outcome.FAILED, did.TaskFailed),
        (Outcome.CANCELLED, did.TaskCancelled),
        (Outcome.PARKED, did.TaskParked),
        (Outcome.PAUSED, did.TaskPaused),
    ],
)
@pytest.mark.parametrize("switched", [False, True])
def test_an_end_names_the_agent_that_ran(
    outcome: Outcome, end: type[did.Event], switched: bool
) -> None:
    """It is the one the execution was started with, also when another one takes over next."""
    parks = [s.asked()] if outcome is Outcome.PARKED else []
    happened = ended(given([*running(), *([SWITCHED] if switched else []), *parks]), outcome)
    assert isinstance(
        happened,
        did.TaskCompleted | did.TaskFailed | did.TaskCancelled | did.TaskParked | did.TaskPaused,
    )
    assert type(happened) is end
    assert (happened.agent, happened.usage) == ("claude", USED)


def test_the_next_execution_is_the_next_agents() -> None:
    """After the takeover the new agent's name stands at the end of what it did."""
    task, events = given([*running(), SWITCHED]).after(finish(Outcome.FAILED))
    assert [type(event) for event in events] == [did.TaskFailed, did.TaskRetried]
    again = structs.replace(s.started(2), agent=task.task.agent)
    second = given([*running(), SWITCHED, *events, again]).when(finish(Outcome.COMPLETED, 2))
    (completed,) = second.happened
    assert isinstance(completed, did.TaskCompleted)
    assert completed.agent == "codex"


@pytest.mark.parametrize("given_up", [False, True])
def test_a_loss_names_the_agent_too(given_up: bool) -> None:
    """Whether the lease expired or the runner gave up, it is known whose execution it was."""
    said = finish(Outcome.LOST) if given_up else s.lose()
    (lost, *_) = given(running()).when(said).happened
    assert isinstance(lost, did.ExecutionLost)
    assert (lost.agent, lost.given_up) == ("claude", given_up)


def test_a_plain_command_has_no_agent() -> None:
    """What no agent did is told without one."""
    happened = ended(given(s.running()), Outcome.COMPLETED)
    assert isinstance(happened, did.TaskCompleted)
    assert happened.agent is None


def test_a_failure_after_the_execution_names_nobody() -> None:
    """What the lost execution was is in its own event: it must not be counted again."""
    (_, failed) = given([*s.queued(on_lost="fail"), STARTED]).when(s.lose()).happened
    assert isinstance(failed, did.TaskFailed)
    assert (failed.execution_id, failed.agent) == (None, None)
