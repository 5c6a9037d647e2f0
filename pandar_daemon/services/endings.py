"""Which tasks are over, by the log and nothing else: what they left may be removed."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from events import codec
from events.envelope import Recorded
from events.running import Ending
from events.running import Endings as Answer
from events.task import TERMINAL, Status
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.domain.task_state import Task, evolve, initial
from pandar_daemon.ports import EventStore

log = structlog.get_logger(__name__)


class Endings:
    """Answers runners."""

    def __init__(self, store: EventStore) -> None:
        """Read streams from ``store``, never from memory: a task that was retried is not over."""
        self._store = store

    async def of(self, task_ids: Sequence[int]) -> Answer:
        """Return those that are over; raises `Unavailable` while the log is away."""
        ended = {}
        for task_id in dict.fromkeys(task_ids):
            try:
                recorded = await self._store.read_stream(f"task-{task_id}")
                ending = _ending(task_id, recorded)
            except ConnectionError as error:
                raise Unavailable("the database is away; ask again") from error
            except codec.CorruptEvent as error:
                log.warning("ending.unreadable", task=task_id, error=str(error))
                continue
            if ending is not None:
                ended[task_id] = ending
        return Answer(ended=ended)


def _ending(task_id: int, recorded: Sequence[Recorded]) -> Ending | None:
    task = initial(task_id)
    for each in recorded:
        event = codec.decode(each)
        task = task if event is None else evolve(task, event)
    if not recorded or not _is_over(task):
        return None
    return Ending(at=recorded[-1].recorded_at, failed=task.status is Status.FAILED)


def _is_over(task: Task) -> bool:
    return task.status in TERMINAL and task.execution is None
