"""Commands: load, decide, append, answer. The only service that writes to the log.

A request passes through::

    read (who, what, legal?) ─▶ load stream ─▶ may they? ─▶ decide ─▶ append ─▶ answer
                                    ▲                          │          │
                                    └── another version ◀──────┼── conflict
                                                               └── refused on a cached state:
                                                                   look again before saying no

What was answered is kept with the events, in the same transaction; so is a refusal by the rules.
The same command id gets that first answer again, from any process, for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar, cast

import msgspec
import structlog
from msgspec import Struct

from events import commands as do
from events.ids import id_of
from events.problem import Problem
from events.task import Event, Status
from pandar_daemon.domain import project as project_rules
from pandar_daemon.domain import task as task_rules
from pandar_daemon.domain.access import require_action
from pandar_daemon.domain.project import Project, ProjectCommand
from pandar_daemon.domain.refusals import (
    CommandIdReused,
    Invalid,
    NotFound,
    Refusal,
    Rejected,
    Unavailable,
    VersionMismatch,
)
from pandar_daemon.domain.task import TaskCommand
from pandar_daemon.domain.task_rules import Ask, Stale
from pandar_daemon.domain.task_state import Task
from pandar_daemon.ports import (
    Append,
    Appended,
    AppendFailed,
    Clock,
    Conflict,
    EventStore,
    Fenced,
    KeyTaken,
    Numbers,
    Receipt,
    Rejections,
    Replayed,
)
from pandar_daemon.services.claims import Claims, claims
from pandar_daemon.services.requests import Request
from pandar_daemon.services.signals import Signals
from pandar_daemon.services.streams import PROJECT, TASK, Kind, Loaded, Streams

log = structlog.get_logger(__name__)

TRIES = 16
"""How often a command is decided anew when others write to its stream meanwhile."""
PROJECT_AGE_SEC = 1.0
"""How long a membership that another process took away may still count."""

S = TypeVar("S", bound=Task | Project)


class Kept(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer as the log keeps it."""

    id: int | str | None = None
    status: Status | None = None
    problem: Problem | None = None


class Commands:
    """Carries out requests."""

    def __init__(
        self,
        *,
        store: EventStore,
        streams: Streams,
        numbers: Numbers,
        rejections: Rejections,
        signals: Signals,
        clock: Clock,
        lease_ttl_sec: float,
    ) -> None:
        """Append to ``store``; see the module."""
        self._store = store
        self._streams = streams
        self._numbers = numbers
        self._rejections = rejections
        self._signals = signals
        self._clock = clock
        self._ttl = lease_ttl_sec

    async def execute(self, request: Request) -> do.Accepted:
        """Carry out a command on a task or project and return its durable answer.

        Raises the `Refusal` it was answered with; `Unavailable` when the outcome is unknown.
        """
        category = request.action.partition(".")[0]
        if request.action.endswith(".create"):
            target = await self._numbers.next(category)
        else:
            target = request.target or _task_of(request.command)
        try:
            if category == "project":
                return await self._carry_out(PROJECT, target, request)
            return await self._carry_out(TASK, target, request)
        except ConnectionError as error:
            raise Unavailable(f"{error}; send it again with the same command id") from error
        except AppendFailed as error:
            raise Invalid from error

    async def _carry_out(self, kind: Kind[S], target: int, request: Request) -> do.Accepted:
        for attempt in range(TRIES):
            loaded = await self._streams.load(kind, target, fresh=attempt > 0)
            try:
                await self._authorise(request, loaded)
                events = self._decide(request, loaded)
            except Refusal as refusal:
                if loaded.cached:
                    continue
                return await self._refuse(request, loaded, refusal)
            accepted = await self._append(kind, request, loaded, events)
            if accepted is not None:
                return accepted
        raise Unavailable("too much happens to it at once; send it again with the same command id")

    async def _authorise(self, request: Request, loaded: Loaded[S]) -> None:
        what = loaded.stream.replace("-", " ")
        state = cast("Task | Project", loaded.state)
        if isinstance(state, Task):
            number = state.project_id or _project_of(request.command)
            if not number or request.project not in {None, number}:
                raise NotFound(what)
            what = what if state.project_id else f"project {number}"
            state = (await self._streams.load(PROJECT, number, max_age_sec=PROJECT_AGE_SEC)).state
            if not state.owner:
                raise NotFound(what)
        role = state.role_of(request.principal.user)
        require_action(request.principal, request.action, role, what)

    def _decide(self, request: Request, loaded: Loaded[S]) -> Sequence[Event]:
        expected = request.expected_version
        if expected is not None and loaded.version and expected != loaded.version:
            raise VersionMismatch(expected, loaded.version)
        user, state = request.principal.user, cast("Task | Project", loaded.state)
        if isinstance(state, Project):
            return project_rules.decide(state, cast("ProjectCommand", request.command), user)
        ask = Ask(self._clock.now(), user)
        return task_rules.decide(state, cast("TaskCommand", request.command), ask)

    async def _append(
        self, kind: Kind[S], request: Request, loaded: Loaded[S], events: Sequence[Event]
    ) -> do.Accepted | None:
        """Return the answer, or ``None`` to try again on a fresh state."""
        after = loaded.state
        for event in events:
            after = kind.evolve(after, event)
        kept = Kept(id=int(id_of(loaded.stream)), status=getattr(after, "status", None))
        held = self._claims(loaded.state, events)
        item = self._item(request, loaded, events, kept, held, after)
        verdict = await self._store.append(item)
        match verdict:
            case Appended():
                self._streams.advance(kind, loaded, item, verdict.position)
                await self._signals.appended(loaded.state, events)
                return _accepted(loaded.stream, kept, verdict.position, verdict.version)
            case Replayed(receipt):
                return _replay(request, receipt)
            case KeyTaken(key):
                raise Rejected(f"{key.scope} {key.key} is held by another task")
            case Conflict() | Fenced():
                return None

    def _claims(self, before: Task | Project, events: Sequence[Event]) -> Claims:
        if isinstance(before, Project):
            return Claims()
        return claims(before, events, ttl_sec=self._ttl)

    def _item(
        self,
        request: Request,
        loaded: Loaded[S],
        events: Sequence[Event],
        kept: Kept,
        held: Claims,
        after: S,
    ) -> Append:
        return Append(
            stream=loaded.stream,
            expected_version=loaded.version,
            events=tuple(events),
            command_id=request.command_id,
            request_sha256=request.sha256,
            answer=msgspec.json.encode(kept),
            actor=request.principal.actor,
            project_id=after.project_id or None,
            correlation_id=request.correlation_id or loaded.correlation_id or request.command_id,
            causation_id=request.causation_id,
            traceparent=request.traceparent or loaded.traceparent,
            reserve=held.reserve,
            release=held.release,
            lease=held.lease,
        )

    async def _refuse(self, request: Request, loaded: Loaded[S], refusal: Refusal) -> do.Accepted:
        """Give the first answer to a repeated command, or say no and keep having said so."""
        receipt = await self._store.receipt(request.command_id)
        if receipt is not None:
            return _replay(request, receipt)
        if isinstance(refusal, Stale):
            await self._rejections.keep(
                stream=loaded.stream,
                command_id=request.command_id,
                actor=request.principal.actor,
                reason=refusal.problem.detail,
                body=request.body,
            )
        elif isinstance(refusal, Rejected | VersionMismatch):
            item = self._item(
                request, loaded, (), Kept(problem=refusal.problem), Claims(), loaded.state
            )
            verdict = await self._store.append(item)
            if isinstance(verdict, Replayed):
                return _replay(request, verdict.receipt)
        raise refusal


def _task_of(command: do.Command) -> int:
    if isinstance(command, do.ReportProgress | do.AskConfirmation | do.FinishExecution):
        return command.task_id
    raise NotFound("such a command without the id of its target in the subject")


def _project_of(command: do.Command) -> int:
    return command.project_id if isinstance(command, do.CreateTask) else 0


def _accepted(stream: str, kept: Kept, position: int, version: int) -> do.Accepted:
    return do.Accepted(
        stream=stream,
        id=kept.id if kept.id is not None else id_of(stream),
        position=position,
        version=version,
        status=kept.status,
    )


def _replay(request: Request, receipt: Receipt) -> do.Accepted:
    if receipt.request_sha256 != request.sha256:
        raise CommandIdReused(request.command_id)
    kept = msgspec.json.decode(receipt.answer, type=Kept)
    if kept.problem is not None:
        raise Refusal(kept.problem)
    return _accepted(receipt.stream, kept, receipt.position, receipt.version)
