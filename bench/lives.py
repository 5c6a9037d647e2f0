"""The events of tasks that ran as most do: filed, queued, started, half done, completed."""

from __future__ import annotations

import hashlib
from uuid import UUID

from events import task as did
from events.task import Event
from pandar_daemon.ports import Append, Appended, EventStore

EVENTS = 5
_SHA = hashlib.sha256(b"bench").digest()


def life(task_id: int) -> tuple[Event, ...]:
    """Return the five events of a task."""
    execution = UUID(int=task_id)
    return (
        did.TaskCreated(
            task_id=task_id,
            project_id=1,
            name=f"Audit module {task_id}",
            description="Look for what is wrong and mend it",
            command="codex audit --fix",
            created_by="1",
        ),
        did.StartRequested(reason="created"),
        did.TaskStarted(execution_id=execution, attempt=1, epoch=1, runner_id="r-bench"),
        did.TaskProgressed(execution_id=execution, progress=50),
        did.TaskCompleted(
            execution_id=execution,
            exit_code=0,
            output_tail="all tests pass\n" * 10,
            duration_sec=1.5,
            output_bytes=150,
        ),
    )


async def live(store: EventStore, task_id: int, version: int, *events: Event) -> None:
    """Append events to a task that is at a version; raises ``TypeError`` if they are refused."""
    command = f"bench-{task_id}-{version}"
    verdict = await store.append(
        Append(
            stream=f"task-{task_id}",
            expected_version=version,
            events=events,
            command_id=command,
            request_sha256=_SHA,
            answer=b"{}",
            actor="user:1",
            project_id=1,
            correlation_id=command,
        )
    )
    if not isinstance(verdict, Appended):
        raise TypeError(f"{command} was not appended: {verdict}")
