"""Dispatch: gives queued tasks to the runners that claim them.

A claim waits up to ``wait_sec`` for work. Candidates come from a read model, which may lag; the
decision is made on the task's own stream, so a stale candidate costs a look and nothing else. A
claim that is repeated under its command id gets the executions it got the first time.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from uuid import UUID

import msgspec
import structlog
from msgspec import Struct

from events import running as tell
from events.ids import id_of
from pandar_daemon.domain import task as task_rules
from pandar_daemon.domain.refusals import CommandIdReused, Refusal, Unavailable
from pandar_daemon.domain.task_execution import Dispatch
from pandar_daemon.domain.task_rules import Ask
from pandar_daemon.domain.task_state import Task
from pandar_daemon.ports import (
    Append,
    Appended,
    AppendFailed,
    Clock,
    EventStore,
    Key,
    KeyTaken,
    Replayed,
    Verdict,
    WorkQueue,
)
from pandar_daemon.services.claims import claims
from pandar_daemon.services.requests import OWN, Request
from pandar_daemon.services.streams import TASK, Loaded, Streams

log = structlog.get_logger(__name__)

POLL_SEC = 1.0
"""A claim looks again this often, whatever it hears."""
SPARE = 16
"""Candidates looked at beyond what is asked for: a read model shows late that some are taken."""
WIDER = 8
"""All of them taken, so many times more are looked at."""
CANDIDATES_MAX = 10_000


class Dispatcher:
    """Answers claims."""

    def __init__(
        self,
        *,
        store: EventStore,
        streams: Streams,
        queue: WorkQueue,
        clock: Clock,
        lease_ttl_sec: float,
    ) -> None:
        """Pick from ``queue``, decide on ``streams``, append to ``store``."""
        self._store = store
        self._streams = streams
        self._queue = queue
        self._clock = clock
        self._ttl = lease_ttl_sec
        self._changed = asyncio.Event()  # set once, then replaced: wakes all who wait for it
        self._open = True
        self._one_at_a_time = asyncio.Lock()

    async def run(self) -> None:
        """Let claims wait until cancelled; from then on they are answered at once."""
        self._open = True
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._open = False
            self.work_arrived()

    def work_arrived(self) -> None:
        """Let waiting claims look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def claim(self, request: Request, claim: tell.Claim) -> tell.Assignments:
        """Return up to ``claim.slots`` new executions, waiting at most ``claim.wait_sec`` for one.

        Raises `Unavailable` when the log is away, `CommandIdReused` for the id of another claim.
        """
        deadline = self._clock.boottime() + claim.wait_sec
        try:
            items = await self._until_given(request, claim.slots, deadline)
        except ConnectionError as error:
            log.warning("claim.unanswered", runner=request.runner, error=str(error))
            raise Unavailable("the database is away; repeat the claim as it was") from error
        return tell.Assignments(ttl_sec=self._ttl, items=items)

    async def _until_given(
        self, request: Request, slots: int, deadline: float
    ) -> list[tell.Assignment]:
        while True:
            changed = self._changed  # before looking: what comes meanwhile is not missed
            items = await self._look(request, slots)
            left = deadline - self._clock.boottime()
            if items is not None or left <= 0 or not self._open:
                return items or []
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, POLL_SEC)):
                    await changed.wait()

    async def _look(self, request: Request, slots: int) -> list[tell.Assignment] | None:
        """Return what the claim gets, or got before; ``None`` for nothing yet."""
        async with self._one_at_a_time:
            try:
                items = await self._pick(request, slots)
            except _AnsweredBefore:
                items = []
            return items or await self._given_before(request)

    async def _pick(self, request: Request, slots: int) -> list[tell.Assignment]:
        """Return new executions: of the best candidates, of more if none of those can begin."""
        items: list[tell.Assignment] = []
        tried, busy = set[int](), set[Key]()
        limit, found = slots + SPARE, list[int]()
        while not items and limit <= CANDIDATES_MAX:
            found = await self._queue.candidates(limit=limit)
            for task_id in (each for each in found if each not in tried):
                tried.add(task_id)
                assignment = await self._give(request, task_id, len(items), busy)
                if assignment is not None:
                    items.append(assignment)
                if len(items) == slots:
                    break
            limit = limit * WIDER if len(found) == limit else CANDIDATES_MAX + 1
        return items

    async def _give(
        self, request: Request, task_id: int, nth: int, busy: set[Key]
    ) -> tell.Assignment | None:
        """Return the task's new execution if it can begin; keys found held go into ``busy``."""
        async with self._streams.turn(TASK, task_id):
            for fresh in (False, True):
                loaded = await self._streams.load(TASK, task_id, fresh=fresh)
                try:
                    item = self._started(request, loaded, nth)
                except Refusal:
                    if loaded.cached:
                        continue
                    return None
                if not busy.isdisjoint(item.reserve):
                    return None
                match await self._append(item):
                    case Appended(position=position):
                        busy.update(item.reserve)
                        task = self._streams.advance(TASK, loaded, item, position)
                        return _assignment(task, item.traceparent)
                    case Replayed():
                        raise _AnsweredBefore
                    case KeyTaken(key):
                        busy.add(key)
                        return None
        return None

    async def _append(self, item: Append) -> Verdict | None:
        try:
            return await self._store.append(item)
        except AppendFailed as error:
            log.error("dispatch.unstorable", stream=item.stream, error=str(error))  # noqa: TRY400 - told enough
            return None

    def _started(self, request: Request, loaded: Loaded[Task], nth: int) -> Append:
        """Return the append that starts an execution; raises the `Refusal` of a task not ready."""
        dispatch = Dispatch(execution_id=self._clock.new_id(), runner_id=request.runner)
        ask = Ask(self._clock.now(), request.principal.user)
        events = task_rules.decide(loaded.state, dispatch, ask)
        held = claims(loaded.state, events, ttl_sec=self._ttl, holder=request.holder)
        return Append(
            stream=loaded.stream,
            expected_version=loaded.version,
            events=tuple(events),
            command_id=_command_id(request, nth),
            request_sha256=request.sha256,
            answer=msgspec.json.encode(_Given(dispatch.execution_id)),
            actor=request.principal.actor,
            project_id=loaded.state.project_id,
            correlation_id=loaded.correlation_id or request.command_id,
            causation_id=request.command_id,
            traceparent=loaded.traceparent,
            reserve=held.reserve,
            lease=held.lease,
        )

    async def _given_before(self, request: Request) -> list[tell.Assignment] | None:
        """Return what this very claim was given and is still live, ``None`` if it never was."""
        items: list[tell.Assignment] | None = None
        for nth in range(1_000):
            receipt = await self._store.receipt(_command_id(request, nth))
            if receipt is None:
                break
            if receipt.request_sha256 != request.sha256:
                raise CommandIdReused(request.command_id)
            items = items or []
            given = msgspec.json.decode(receipt.answer, type=_Given)
            loaded = await self._streams.load(TASK, int(id_of(receipt.stream)), fresh=True)
            live = loaded.state.execution
            if live is not None and live.execution_id == given.execution_id:
                items.append(_assignment(loaded.state, loaded.traceparent))
        return items


class _Given(Struct, frozen=True):
    """The answer to one slot of a claim, as the log keeps it."""

    execution_id: UUID


class _AnsweredBefore(Exception):
    """The log has an answer to this very claim."""


def _command_id(request: Request, nth: int) -> str:
    name = f"{request.principal.actor}/{request.runner}/{request.command_id}/{nth}"
    return f"{OWN}claim-{hashlib.sha256(name.encode()).hexdigest()[:48]}"


def _assignment(task: Task, traceparent: str | None) -> tell.Assignment:
    assert task.execution is not None  # noqa: S101 - it is live
    return tell.Assignment(
        task_id=task.task_id,
        project_id=task.project_id,
        execution_id=task.execution.execution_id,
        epoch=task.execution.epoch,
        attempt=task.attempt,
        command=task.command,
        name=task.name,
        metadata=task.metadata,
        agent=task.policy.agent,
        traceparent=traceparent,
    )
