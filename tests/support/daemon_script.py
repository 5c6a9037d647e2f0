"""The daemon's side of the runner protocol, as a test wants it: what it gives out and answers."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from uuid import UUID, uuid4

import msgspec
from msgspec import Struct

from events.commands import Accepted
from events.confinement import Confines
from events.running import (
    Assignment,
    Assignments,
    Claim,
    FinishExecution,
    LeaseState,
    Renew,
    Renewed,
    ReportProgress,
)
from events.task import Json
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.ports import Message


class Heard(Struct):
    """One request: who asked what, under which command id."""

    action: str
    runner: str
    command_id: str
    headers: dict[str, str]
    body: bytes


class DaemonScript:
    """Gives out what was `offer`ed, and answers renewals from ``leases``."""

    def __init__(self, *, ttl_sec: float = 2.0) -> None:
        self.ttl_sec = ttl_sec
        self.heard: list[Heard] = []
        self.leases: dict[UUID, LeaseState] = {}
        self.refuse: dict[str, list[Refusal]] = defaultdict(list)  # the next answers, by action
        self.silent: dict[str, asyncio.Event] = {}  # answers wait for this, by action
        self.finished: dict[UUID, FinishExecution] = {}
        self._offers: list[Assignment] = []
        self._task_id = 0

    def offer(
        self,
        command: str,
        *,
        attempt: int = 1,
        task: int = 0,
        confines: Confines | None = None,
        **metadata: object,
    ) -> UUID:
        """Give this command to the next runner that claims; return its execution id."""
        self._task_id += 1
        options: Json = dict(metadata)
        assignment = Assignment(
            task_id=task or self._task_id,
            project_id=1,
            execution_id=uuid4(),
            epoch=self._task_id,
            attempt=attempt,
            command=command,
            name="a task",
            metadata=options,
            traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            confines=confines or Confines(),
        )
        self._offers.append(assignment)
        self.leases[assignment.execution_id] = LeaseState.HELD
        return assignment.execution_id

    @property
    def ungiven(self) -> list[UUID]:
        """Return what was offered and no runner has claimed yet."""
        return [each.execution_id for each in self._offers]

    def requests(self, action: str) -> list[Heard]:
        """Return what was asked under an action, in order."""
        return [heard for heard in self.heard if heard.action == action]

    def progress(self) -> list[int]:
        """Return the percentages reported, in order."""
        asked = self.requests("progress")
        return [msgspec.json.decode(each.body, type=ReportProgress).progress for each in asked]

    async def handle(self, message: Message) -> bytes:
        """Answer a request of a runner."""
        _, _, _, action, runner = message.subject.split(".")
        headers = dict(message.headers)
        heard = Heard(action, runner, headers["pandar-command-id"], headers, message.body)
        self.heard.append(heard)
        if action in self.silent:
            await self.silent[action].wait()
        if self.refuse[action]:
            raise self.refuse[action].pop(0)
        return msgspec.json.encode(self._answer(heard))

    def _answer(self, heard: Heard) -> Accepted | Assignments | Renewed:
        match heard.action:
            case "claim":
                claim = msgspec.json.decode(heard.body, type=Claim)
                given, self._offers = self._offers[: claim.slots], self._offers[claim.slots :]
                return Assignments(ttl_sec=self.ttl_sec, items=given)
            case "renew":
                held = msgspec.json.decode(heard.body, type=Renew).leases
                states = {each.execution_id: self.leases[each.execution_id] for each in held}
                return Renewed(ttl_sec=self.ttl_sec, leases=states)
            case "finish":
                report = msgspec.json.decode(heard.body, type=FinishExecution)
                self.finished[report.execution_id] = report
                self.leases[report.execution_id] = LeaseState.LOST
        return Accepted(stream="task-1", id=1, position=1, version=1)
