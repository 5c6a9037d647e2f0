"""Dispatch: gives queued tasks to the runners that claim them.

A claim waits up to ``wait_sec`` for work. Candidates come from a read model, which may lag; the
decision is made on the task's own stream, so a stale candidate costs a look and nothing else. A
claim that is repeated under its command id gets the executions it got the first time.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import suppress

import msgspec
import structlog

from events import commands as do
from events.task import Event, Status
from pandar_daemon.domain import task as task_rules
from pandar_daemon.domain.refusals import Refusal, Unavailable
from pandar_daemon.domain.task_execution import Dispatch
from pandar_daemon.domain.task_rules import Ask
from pandar_daemon.domain.task_state import Task
from pandar_daemon.ports import (
    Append,
    Appended,
    AppendFailed,
    Clock,
    EventStore,
    WorkQueue,
)
from pandar_daemon.services.claims import claims
from pandar_daemon.services.commands import Kept
from pandar_daemon.services.requests import Request
from pandar_daemon.services.streams import TASK, Loaded, Streams

log = structlog.get_logger(__name__)

POLL_SEC = 1.0
"""A claim looks again this often, whatever it hears."""


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
            self._changed.set()

    def work_arrived(self) -> None:
        """Let waiting claims look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def claim(self, request: Request, claim: do.Claim) -> do.Assignments:
        """Return up to ``claim.slots`` new executions, waiting at most ``claim.wait_sec`` for one.

        Raises `Unavailable` when the log is away.
        """
        deadline = self._clock.boottime() + claim.wait_sec
        try:
            items = await self._given_before(request)
            while not items:
                async with self._one_at_a_time:
                    items = await self._pick(request, claim.slots)
                left = deadline - self._clock.boottime()
                if items or left <= 0 or not self._open:
                    break
                await self._wait(min(left, POLL_SEC))
        except (ConnectionError, AppendFailed) as error:
            raise Unavailable(str(error)) from error
        return do.Assignments(ttl_sec=self._ttl, items=items)

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def _pick(self, request: Request, slots: int) -> list[do.Assignment]:
        items: list[do.Assignment] = []
        for task_id in await self._queue.candidates(limit=slots + 16):
            if len(items) == slots:
                break
            assignment = await self._give(request, task_id, len(items))
            if assignment is not None:
                items.append(assignment)
        return items

    async def _give(self, request: Request, task_id: int, nth: int) -> do.Assignment | None:
        for fresh in (False, True):
            loaded = await self._streams.load(TASK, task_id, fresh=fresh)
            dispatch = Dispatch(execution_id=self._clock.new_id(), runner_id=request.runner)
            try:
                ask = Ask(self._clock.now(), request.principal.user)
                events = task_rules.decide(loaded.state, dispatch, ask)
            except Refusal:
                if loaded.cached:
                    continue
                return None
            item = self._item(request, loaded, events, nth)
            verdict = await self._store.append(item)
            if isinstance(verdict, Appended):
                task = self._streams.advance(TASK, loaded, item, verdict.position)
                return _assignment(task, item.traceparent)
            self._streams.forget(loaded.stream)
        return None

    def _item(
        self, request: Request, loaded: Loaded[Task], events: Sequence[Event], nth: int
    ) -> Append:
        held = claims(loaded.state, events, ttl_sec=self._ttl)
        return Append(
            stream=loaded.stream,
            expected_version=loaded.version,
            events=tuple(events),
            command_id=_command_id(request, nth),
            request_sha256=request.sha256,
            answer=msgspec.json.encode(Kept(id=loaded.state.task_id, status=Status.RUNNING)),
            actor=request.principal.actor,
            project_id=loaded.state.project_id,
            correlation_id=loaded.correlation_id or request.command_id,
            causation_id=request.command_id,
            traceparent=loaded.traceparent,
            reserve=held.reserve,
            lease=held.lease,
        )

    async def _given_before(self, request: Request) -> list[do.Assignment]:
        """Return what this very claim was given, as far as it is still live."""
        items: list[do.Assignment] = []
        for nth in range(1_000):
            receipt = await self._store.receipt(_command_id(request, nth))
            if receipt is None:
                break
            task_id = int(receipt.stream.partition("-")[2])
            loaded = await self._streams.load(TASK, task_id, fresh=True)
            live = loaded.state.execution
            if live is not None and live.runner_id == request.runner:
                items.append(_assignment(loaded.state, loaded.traceparent))
        return items


def _command_id(request: Request, nth: int) -> str:
    name = f"{request.principal.actor}/{request.runner}/{request.command_id}/{nth}"
    return f"claim-{hashlib.sha256(name.encode()).hexdigest()[:48]}"


def _assignment(task: Task, traceparent: str | None) -> do.Assignment:
    assert task.execution is not None  # noqa: S101 - it is live
    return do.Assignment(
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
