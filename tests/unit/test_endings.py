"""Which tasks are over, as the log has it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from events.envelope import Recorded
from events.running import Ending
from events.task import TERMINAL, Status, TaskEvent
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.services.endings import Endings
from tests.support import stories
from tests.support.given import NOW, envelope, given, recorded


class Log:
    """A log of some streams; ``away`` when it does not answer."""

    def __init__(self, **streams: list[Recorded]) -> None:
        self.streams = {name.replace("_", "-"): events for name, events in streams.items()}
        self.away = False

    async def read_stream(
        self, stream: str, *, after_version: int = 0, up_to: int | datetime | None = None
    ) -> list[Recorded]:
        """Return a stream's events."""
        assert (after_version, up_to) == (0, None)
        if self.away:
            raise ConnectionError("away")
        return self.streams.get(stream, [])


def endings(log: Log) -> Endings:
    """Return what answers from a log."""
    return Endings(log)  # type: ignore[arg-type] # of an event store it needs this one method


STORIES: dict[str, Callable[[], list[TaskEvent]]] = {
    "nobody": list,
    "filed": stories.filed,
    "queued": stories.queued,
    "running": stories.running,
    "waiting": stories.waiting,
    "lost": stories.waiting_lost,
    "parked": stories.waiting_parked,
    "resuming": stories.resuming,
    "paused": lambda: [*stories.running(), stories.paused()],
    "cancelling": stories.cancelling,
    "completed": lambda: [*stories.running(), stories.completed()],
    "cancelled": lambda: [*stories.cancelling(), stories.cancelled()],
    "failed": lambda: [*stories.running(), stories.failed()],
    "retried": lambda: [*stories.running(), stories.failed(), stories.retried(2)],
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
async def test_only_a_task_in_a_last_state_is_over(story: Callable[[], list[TaskEvent]]) -> None:
    """In every state there is, parked and paused ones too."""
    events = story()
    answer = await endings(Log(task_42=[recorded(event) for event in events])).of([42, 42, 7])
    status = given(events).task.status
    over = {42: Ending(at=NOW, failed=status is Status.FAILED)} if status in TERMINAL else {}
    assert answer.ended == over


async def test_what_cannot_be_read_is_not_over() -> None:
    """Neither a stream with a damaged event, nor anything while the log is away."""
    log = Log(task_42=[envelope("task.created", b"[]")])
    assert (await endings(log).of([42])).ended == {}
    log.away = True
    with pytest.raises(Unavailable):
        await endings(log).of([42])
