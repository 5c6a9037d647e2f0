"""The executions a log tells of: when each began, when and how it ended, and what is wrong."""

from __future__ import annotations

from msgspec import Struct

from events import codec
from events import task as did
from events.envelope import Recorded
from events.ids import category_of, id_of
from events.task import Event
from pandar_daemon.domain.policy import policy


class Life(Struct):
    """One execution as the log tells it; ``ended`` and ``end`` are ``None`` while it lives."""

    task: int
    started: Recorded
    key: str | None
    ended: Recorded | None = None
    end: Event | None = None


class Lives:
    """All executions of a log, and what the log itself says against them."""

    def __init__(self, events: list[Recorded]) -> None:
        self.by_id: dict[str, Life] = {}
        self.faults: list[str] = []
        self._live: dict[int, str] = {}
        self._keys: dict[str, str] = {}
        self._wanted: dict[int, str | None] = {}
        for recorded in events:
            if category_of(recorded.stream) == "task":
                self._read(recorded, int(id_of(recorded.stream)))

    def _read(self, recorded: Recorded, task: int) -> None:
        try:
            event = codec.decode(recorded)
        except codec.CorruptEvent as error:
            self.faults.append(f"lease: {error}")
            return
        match event:
            case did.TaskCreated(metadata=metadata):
                self._wanted[task] = policy(metadata).concurrency_key
            case did.TaskUpdated(metadata=dict() as metadata):
                self._wanted[task] = policy(metadata).concurrency_key
            case did.TaskStarted(execution_id=started):
                self._start(task, str(started), recorded)
            case did.TaskProgressed(execution_id=speaking):
                self._speak(task, str(speaking), recorded)
            case did.TaskCompleted() | did.TaskFailed() | did.TaskCancelled():
                ended = event.execution_id
                self._end(task, None if ended is None else str(ended), recorded, event)
            case did.TaskParked(execution_id=gone) | did.TaskPaused(execution_id=gone):
                self._end(task, str(gone), recorded, event)
            case did.ExecutionLost(execution_id=lost):
                self._end(task, str(lost), recorded, event)

    def _start(self, task: int, execution: str, recorded: Recorded) -> None:
        if task in self._live:
            self._fault(recorded, f"{execution} starts while {self._live[task]} lives")
        if execution in self.by_id:
            self._fault(recorded, f"{execution} starts again")
        key = self._wanted.get(task)
        if key is not None:
            self._hold(key, execution, recorded)
        self._live[task] = execution
        self.by_id[execution] = Life(task, recorded, key)

    def _hold(self, key: str, execution: str, recorded: Recorded) -> None:
        if key in self._keys:
            self.faults.append(
                f"key: {key!r} is held by {self._keys[key]} when {execution} starts, "
                f"{brief(recorded)}"
            )
        self._keys[key] = execution

    def _speak(self, task: int, execution: str, recorded: Recorded) -> None:
        if self._live.get(task) != execution:
            self._fault(recorded, f"{execution} speaks, {self._alive(task)} lives")

    def _end(self, task: int, execution: str | None, recorded: Recorded, event: Event) -> None:
        live = self._live.get(task)
        if live != execution:
            self._fault(recorded, f"{execution or 'nothing'} ends, {self._alive(task)} lives")
        if execution is None or execution not in self.by_id:
            return
        life = self.by_id[execution]
        if live == execution:
            life.ended, life.end = recorded, event
            del self._live[task]
        if life.key is not None and self._keys.get(life.key) == execution:
            del self._keys[life.key]

    def _alive(self, task: int) -> str:
        return self._live.get(task, "nothing")

    def _fault(self, recorded: Recorded, what: str) -> None:
        self.faults.append(f"lease: {brief(recorded)}: {what}")


def brief(recorded: Recorded) -> str:
    """Return where and what an event is, for people."""
    return f"{recorded.position} {recorded.stream} {recorded.type}"
