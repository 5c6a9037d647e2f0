"""A policy tried on what happened: every call that was decided is judged anew.

Reads the log and nothing else, in batches, and changes nothing. The events are found by their
position, hence the first one that is young enough by halving: times of the log do not go back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Final

from events import codec
from events.envelope import Recorded
from events.ids import id_of
from events.task import CallDecided, Json, TaskCreated, TaskUpdated
from pandar_daemon.configuration import Configuration
from pandar_daemon.domain.partial import stated
from pandar_daemon.domain.replaying import Tried, try_again, what
from pandar_daemon.ports import EventStore

BATCH: Final = 1_000
TASKS_MAX: Final = 10_000
"""Tasks whose metadata is kept in memory."""
_TYPE: Final = "task.call_decided"

Progress = Callable[[str, int, int], None]


def _silent(_what: str, _done: int, _total: int) -> None:
    """Tell nobody how far it is."""


class PolicyTrial:
    """Judges recorded calls by what a file configures."""

    def __init__(
        self, store: EventStore, configuration: Configuration, progress: Progress = _silent
    ) -> None:
        """Read from ``store``; what ``configuration`` does not state is as each task states it."""
        self._store = store
        self._configuration = configuration
        self._progress = progress
        self._metadata: dict[str, Json] = {}

    async def calls(self, since: datetime, project_id: int | None = None) -> AsyncIterator[Tried]:
        """Yield each call decided since then, of one project or of all, in the order of the log."""
        head = (await self._store.head()).position
        first = at = await self._before(since, head)
        while at < head:
            self._progress("calls", at - first, head - first)
            batch = await self._store.read_all(after=at, limit=BATCH)
            for recorded in batch:
                if recorded.type == _TYPE and project_id in {None, recorded.project_id}:
                    event = codec.decode(recorded)
                    if isinstance(event, CallDecided):
                        yield await self._tried(recorded, event)
            at = batch[-1].position if batch else head

    async def _before(self, since: datetime, head: int) -> int:
        """Return the last position that is older."""
        low, high = 0, head
        while low < high:
            middle = (low + high) // 2
            found = await self._store.read_all(after=middle, limit=1)
            low, high = (
                (middle + 1, high) if found and found[0].recorded_at < since else (low, middle)
            )
        return low

    async def _tried(self, recorded: Recorded, event: CallDecided) -> Tried:
        project_id = recorded.project_id or 0
        metadata = await self._stated(recorded.stream)
        then, now = try_again(event, self._configuration.rules_for(project_id, metadata))
        return Tried(
            position=recorded.position,
            at=recorded.recorded_at,
            task_id=int(id_of(recorded.stream)),
            project_id=project_id,
            what=what(event.call),
            then=then,
            then_rule=event.rule,
            now=now.verdict,
            now_rule=now.rule,
            gates=now.gates,
            why=now.why,
        )

    async def _stated(self, stream: str) -> Json:
        """Return what a task states that the file leaves to it."""
        over = {
            key
            for key, value in (
                ("approval_policy", self._configuration.policy),
                ("gates", self._configuration.stops),
            )
            if value is not None
        }
        if len(over) == 2:  # noqa: PLR2004 - the file states both
            return {}
        metadata = await self._of_task(stream)
        return {key: value for key, value in metadata.items() if key not in over}

    async def _of_task(self, stream: str) -> Json:
        if stream not in self._metadata:
            if len(self._metadata) >= TASKS_MAX:
                self._metadata.clear()
            found: Json = {}
            for recorded in await self._store.read_stream(stream):
                event = codec.decode(recorded)
                if isinstance(event, TaskCreated | TaskUpdated):
                    found = stated(event).get("metadata", found)
            self._metadata[stream] = found
        return self._metadata[stream]
