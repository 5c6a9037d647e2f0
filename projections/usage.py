"""What executions consumed: by project, agent and day, and of each task.

An execution counts on the day (UTC) on which it ended. One that was lost counts as an execution
and consumed nothing that anybody knows of. What a deleted task consumed stays: it was paid for.
"""

from __future__ import annotations

from datetime import UTC, date
from typing import Final

from events.envelope import Recorded
from events.task import (
    Event,
    ExecutionLost,
    TaskCancelled,
    TaskCompleted,
    TaskFailed,
    TaskParked,
    TaskPaused,
    Usage,
)
from projections.base import (
    Change,
    Increment,
    Key,
    ReadModel,
    Table,
    project_id,
    storable,
    task_id,
)

COUNTED: Final = (
    "executions",
    "unpriced_executions",
    "cpu_ms",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "thought_tokens",
    "cost_micros",
)
"""What is summed; ``cost_micros`` is in millionths of a USD.

``unpriced_executions`` used tokens, and nobody told at what cost.
"""

MOST: Final = 10**15
"""More than any execution can have used of anything: what is told beyond counts as this much."""

AGENT_MAX: Final = 64
"""Characters of an agent's name; once a task could ask for any agent."""

_SUMS: Final = tuple((name, "bigint") for name in COUNTED)

DAYS: Final = Table(
    name="usage_of_days",
    columns=(("project_id", "bigint"), ("agent", "text"), ("day", "date"), *_SUMS),
    key=("project_id", "agent", "day"),
)
TASKS: Final = Table(
    name="usage_of_tasks",
    columns=(
        ("task_id", "bigint"),
        ("project_id", "bigint"),
        ("agent", "text"),
        ("day", "date"),
        *_SUMS,
    ),
    key=("task_id", "project_id", "agent", "day"),
    indexes=("(project_id, day)",),
)

HANDLES: Final = (
    "task.completed",
    "task.failed",
    "task.cancelled",
    "task.parked",
    "task.paused",
    "task.execution_lost",
)


def _on(recorded: Recorded, event: Event) -> list[Change]:
    match event:
        case TaskCompleted() | TaskFailed() | TaskCancelled() | TaskParked() | TaskPaused():
            if event.execution_id is None:
                return []  # its last execution was over, and counted, before
            return _counted(recorded, event.agent, event.usage)
        case ExecutionLost():
            return _counted(recorded, event.agent, Usage())
        case _:
            return []


def _counted(recorded: Recorded, agent: str | None, usage: Usage) -> list[Change]:
    key: Key = (project_id(recorded), storable(agent or "")[:AGENT_MAX], _day(recorded))
    sums = _sums(usage)
    of_task = Increment(TASKS.name, (task_id(recorded), *key), sums)
    return [Increment(DAYS.name, key, sums), of_task]


def _day(recorded: Recorded) -> date:
    return recorded.recorded_at.astimezone(UTC).date()


def _sums(usage: Usage) -> dict[str, int]:
    values = (
        1,
        has_unknown_cost(usage),
        usage.cpu_sec * 1_000,
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        usage.thought_tokens,
        (usage.cost_usd or 0.0) * 1_000_000,
    )
    return {name: _whole(value) for name, value in zip(COUNTED, values, strict=True)}


def _whole(value: float | None) -> int:
    return round(min(max(0, value), MOST)) if value else 0


def has_unknown_cost(usage: Usage) -> bool:
    """Return whether tokens were used and nobody told what they cost."""
    used = (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.thought_tokens)
    return usage.cost_usd is None and any(used)


USAGE: Final = ReadModel(name="usage", version=1, tables=(DAYS, TASKS), handles=HANDLES, on=_on)
