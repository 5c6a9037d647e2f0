"""Giving: fills the free slots of one claim with tasks, all of them in one commit if it can.

Every slot has a command id of its own, made from the claim's: what a slot was given is in the log
under it, so a claim that is repeated finds its executions, from any process. A slot whose task
could not begin stored nothing, and is free for the next task.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from functools import reduce
from itertools import islice
from typing import Final
from uuid import UUID

import msgspec
import structlog
from msgspec import Struct

from events import running as tell
from events.calls import Rules
from events.confinement import Confines
from events.ids import id_of
from events.task import Json
from pandar_daemon.domain import task as task_rules
from pandar_daemon.domain.confining import confines_in
from pandar_daemon.domain.policy import rules_in
from pandar_daemon.domain.project import Project
from pandar_daemon.domain.refusals import CommandIdReused, Refusal
from pandar_daemon.domain.resuming import allowances_of, resume_of
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
)
from pandar_daemon.services.claims import claims
from pandar_daemon.services.families import SECRETS
from pandar_daemon.services.requests import OWN, Request
from pandar_daemon.services.streams import PROJECT, TASK, Loaded, Streams

log = structlog.get_logger(__name__)

PROJECT_AGE_SEC: Final = 60.0
"""How long a change of a project by another process may go unnoticed, should its hint be lost."""
SECRETS_AGE_SEC: Final = 1.0
"""As long for its secrets: what is not known of them is shown."""
RulesOf = Callable[[int, Json], Rules]
"""Returns what the calls of a task are judged by: its project and its metadata say."""
ConfinesOf = Callable[[int, Json], Confines]
"""Returns what a task is confined to: its project and its metadata say."""


class Terms(Struct, frozen=True):
    """On what terms executions are given."""

    rules_of: RulesOf = rules_in
    confines_of: ConfinesOf = confines_in


_STATED: Final = Terms()
"""The terms a task states itself."""


class Ground(Struct, frozen=True):
    """What an execution is given of its project: a clone, and how many secrets there are."""

    repository: tell.Repository | None
    secrets: int


class Slots(Struct):
    """A claim while it is filled: what it has, its slots still free, the keys found held.

    ``answered`` when the log had one of its slots already: another process fills it too.
    """

    request: Request
    free: list[int]
    given: list[tell.Assignment] = []
    busy: set[Key] = set()
    answered: bool = False

    @classmethod
    def of(cls, request: Request, count: int) -> Slots:
        """Return so many free slots of a claim."""
        return cls(request, list(range(count)))


class Giver:
    """Starts executions for claims."""

    def __init__(
        self,
        *,
        store: EventStore,
        streams: Streams,
        clock: Clock,
        lease_ttl_sec: float,
        terms: Terms = _STATED,
    ) -> None:
        """Decide on ``streams``, append to ``store``."""
        self._terms = terms
        self._store = store
        self._streams = streams
        self._clock = clock
        self._ttl = lease_ttl_sec

    async def fill(self, slots: Slots, candidates: Iterable[int]) -> None:
        """Give the first candidates that can begin, the others none the worse for it.

        Raises ``ConnectionError`` when it is unknown whether one was given: `before` will tell.
        """
        waiting = iter(candidates)
        while not slots.answered and (chosen := list(islice(waiting, len(slots.free)))):
            gives = [
                self._give(slots, task_id, nth)
                for task_id, nth in zip(chosen, slots.free, strict=False)
            ]
            given = await asyncio.gather(*gives, return_exceptions=True)
            for failure in given:
                if isinstance(failure, BaseException):
                    raise failure
            began = [each for each in given if isinstance(each, tell.Assignment)]
            slots.free = [
                nth for n, nth in enumerate(slots.free) if n >= len(chosen) or given[n] is None
            ]
            slots.given += began

    async def before(self, request: Request, count: int) -> list[tell.Assignment] | None:
        """Return what this very claim was given and is still live, ``None`` if it never was.

        Raises `CommandIdReused` for the id of another claim.
        """
        receipts = await self._store.receipts([_command_id(request, nth) for nth in range(count)])
        items = []
        for receipt in receipts:
            if receipt.request_sha256 != request.sha256:
                raise CommandIdReused(request.command_id)
            given = msgspec.json.decode(receipt.answer, type=_Given)
            loaded = await self._streams.load(TASK, int(id_of(receipt.stream)), fresh=True)
            live = loaded.state.execution
            if live is not None and live.execution_id == given.execution_id:
                ground = await self._ground(loaded.state)
                items.append(_assignment(loaded.state, loaded.traceparent, self._terms, ground))
        return items if receipts else None

    async def _give(self, slots: Slots, task_id: int, nth: int) -> tell.Assignment | None:
        """Return the task's new execution if it can begin; keys found held become ``busy``."""
        async with self._streams.turn(TASK, task_id):
            for fresh in (False, True):
                loaded = await self._streams.load(TASK, task_id, fresh=fresh)
                try:
                    item = self._started(slots.request, loaded, nth)
                except Refusal:
                    if loaded.cached:
                        continue
                    return None
                if not slots.busy.isdisjoint(item.reserve):
                    return None
                match await self._append(item):
                    case Appended(position=position):
                        slots.busy.update(item.reserve)
                        task = reduce(TASK.evolve, item.events, loaded.state)
                        self._streams.advance(loaded, item, position, task)
                        ground = await self._ground(task)  # nobody's append waits for it
                        return _assignment(task, item.traceparent, self._terms, ground)
                    case Replayed():
                        slots.answered = True
                        return None
                    case KeyTaken(key):
                        slots.busy.add(key)
                        return None
        return None

    async def _ground(self, task: Task) -> Ground:
        """Return what there is of the task's project."""
        load, project_id = self._streams.load, task.project_id
        project = (await load(PROJECT, project_id, max_age_sec=PROJECT_AGE_SEC)).state
        secrets = (await load(SECRETS.kind, project_id, max_age_sec=SECRETS_AGE_SEC)).state
        return Ground(_repository(project), len(secrets.held))

    async def _append(self, item: Append) -> Verdict | None:
        try:
            return await self._store.append(item)
        except AppendFailed as error:
            log.error("dispatch.unstorable", stream=item.stream, error=str(error))  # noqa: TRY400 - told enough
            return None

    def _started(self, request: Request, loaded: Loaded[Task], nth: int) -> Append:
        """Return the append that starts an execution; raises the `Refusal` of a task not ready."""
        store = request.command.store if isinstance(request.command, tell.Claim) else ""
        dispatch = Dispatch(
            execution_id=self._clock.new_id(), runner_id=request.runner, store=store
        )
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


class _Given(Struct, frozen=True):
    """The answer to one slot of a claim, as the log keeps it."""

    execution_id: UUID


def _command_id(request: Request, nth: int) -> str:
    name = f"{request.principal.actor}/{request.runner}/{request.command_id}/{nth}"
    return f"{OWN}claim-{hashlib.sha256(name.encode()).hexdigest()[:48]}"


def _repository(project: Project) -> tell.Repository | None:
    """Return what there is a clone of, ``None`` when the project names nothing."""
    if not project.git_url:
        return None
    return tell.Repository(
        url=project.git_url, base_branch=project.base_branch, setup=project.setup
    )


def _assignment(
    task: Task, traceparent: str | None, terms: Terms, ground: Ground
) -> tell.Assignment:
    assert task.execution is not None  # noqa: S101 - it is live
    return tell.Assignment(
        prompt=task.prompt,
        created_by=task.created_by,
        rules=terms.rules_of(task.project_id, task.metadata),
        confines=terms.confines_of(task.project_id, task.metadata),
        allowances=allowances_of(task),
        resume=resume_of(task),
        spent=task.spent,
        task_id=task.task_id,
        project_id=task.project_id,
        execution_id=task.execution.execution_id,
        epoch=task.execution.epoch,
        attempt=task.attempt,
        command=task.command,
        name=task.name,
        metadata=task.metadata,
        agent=task.agent,
        traceparent=traceparent,
        repository=ground.repository,
        secrets=ground.secrets,
    )
