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
from functools import reduce
from typing import TypeVar
from uuid import UUID

import msgspec
import structlog

from events import commands as do
from events import running as tell
from events.ids import id_of
from events.problem import FieldError
from events.task import Event
from pandar_daemon.domain.refusals import (
    Invalid,
    NotFound,
    Refusal,
    Rejected,
    Unavailable,
    VersionMismatch,
)
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
    LeaseChange,
    LeaseOp,
    Numbers,
    Rejections,
    Replayed,
)
from pandar_daemon.services.answers import Kept, accepted, replay
from pandar_daemon.services.claims import Claims, claims
from pandar_daemon.services.families import Family, family_of, named_in
from pandar_daemon.services.permits import Permits
from pandar_daemon.services.requests import Request
from pandar_daemon.services.signals import Signals
from pandar_daemon.services.streams import InProject, Kind, Loaded, Streams

log = structlog.get_logger(__name__)

TRIES = 100
"""How often a command is decided anew when other processes write to its stream meanwhile.

Whoever wrote last knows the state and is ahead again: a burst elsewhere is only waited out.
"""

S = TypeVar("S", bound=InProject)


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
        confirmations_max: int = 100,
    ) -> None:
        """Append to ``store``; see the module. An attempt asks ``confirmations_max`` times."""
        self._confirmations_max = confirmations_max
        self._store = store
        self._streams = streams
        self._permits = Permits(streams)
        self._numbers = numbers
        self._rejections = rejections
        self._signals = signals
        self._clock = clock
        self._ttl = lease_ttl_sec

    async def execute(self, request: Request) -> do.Accepted:
        """Carry out a command and return its durable answer.

        Raises the `Refusal` it was answered with; `Unavailable` when the outcome is unknown.
        """
        try:
            family = family_of(request.action)
            return await self._carry_out(family, await self._target(family, request), request)
        except ConnectionError as error:
            log.warning("command.unanswered", action=request.action, error=str(error))
            raise Unavailable(f"the database is away; {_AGAIN}") from error
        except AppendFailed as error:
            log.warning("command.unstorable", action=request.action, error=str(error))
            raise Invalid(
                FieldError(field="body", rule="holds what the log cannot store")
            ) from error

    async def _target(self, family: Family, request: Request) -> int | UUID:
        if request.target is not None:
            return request.target
        if request.action.endswith(".create"):
            named = named_in(request.command)
            return named or await self._numbers.next(family.kind.category)
        return _task_of(request.command)

    async def _carry_out(self, family: Family, target: int | UUID, request: Request) -> do.Accepted:
        kind = family.kind
        async with self._streams.turn(kind, target):
            for attempt in range(TRIES):
                loaded = await self._load(kind, target, request, first=attempt == 0)
                try:
                    await self._permits.check(request, loaded)
                    events = self._decide(family, request, loaded)
                    answer = await self._append(kind, request, loaded, events)
                except Refusal as refusal:
                    stale = loaded.cached
                    answer = None if stale else await self._refuse(request, loaded, refusal)
                if answer is not None:
                    return answer
        raise Unavailable(f"too much happens to it at once; {_AGAIN}")

    async def _load(
        self, kind: Kind[S], target: int | UUID, request: Request, *, first: bool
    ) -> Loaded[S]:
        if first and isinstance(target, int) and request.action.endswith(".create"):
            return self._streams.begin(kind, target)  # `target` is a number nobody had
        return await self._streams.load(kind, target, fresh=not first)

    def _decide(self, family: Family, request: Request, loaded: Loaded[S]) -> Sequence[Event]:
        expected = request.expected_version
        if expected is not None and loaded.version and expected != loaded.version:
            raise VersionMismatch(expected, loaded.version)
        ask = Ask(self._clock.now(), request.principal.user, self._confirmations_max)
        return family.decide(loaded.state, request.command, ask)

    async def _append(
        self, kind: Kind[S], request: Request, loaded: Loaded[S], events: Sequence[Event]
    ) -> do.Accepted | None:
        """Return the answer, or ``None`` to try again on a fresh state."""
        after = reduce(kind.evolve, events, loaded.state)
        kept = _kept(loaded.stream, after)
        held = self._claims(request, loaded.state, events)
        item = self._item(request, loaded, events, kept, held, after)
        verdict = await self._store.append(item)
        match verdict:
            case Appended():
                self._streams.advance(loaded, item, verdict.position, after)
                await self._signals.appended(loaded.state, events)
                return accepted(loaded.stream, kept, verdict.position, verdict.version)
            case Replayed(receipt):
                return replay(request, receipt)
            case KeyTaken(key):
                raise Rejected(f"{key.scope} {key.key} is held by another task")
            case Fenced():
                raise _fenced(held.lease)
            case Conflict():
                return None

    def _claims(self, request: Request, before: object, events: Sequence[Event]) -> Claims:
        if not isinstance(before, Task):
            return Claims()
        return claims(before, events, ttl_sec=self._ttl, holder=request.holder)

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

    async def _refuse(
        self, request: Request, loaded: Loaded[S], refusal: Refusal
    ) -> do.Accepted | None:
        """Give the first answer to a repeated command, or say no and keep having said so.

        ``None`` when the state that was judged is over: the next one is to be judged.
        """
        for receipt in await self._store.receipts([request.command_id]):
            return replay(request, receipt)
        if isinstance(refusal, Stale):
            await self._reject(request, loaded.stream, refusal)
        elif isinstance(refusal, Rejected | VersionMismatch):
            kept = Kept(problem=refusal.problem)
            item = self._item(request, loaded, (), kept, Claims(), loaded.state)
            match await self._store.append(item):
                case Replayed(receipt):
                    return replay(request, receipt)
                case Conflict():
                    return None
        raise refusal

    async def _reject(self, request: Request, stream: str, refusal: Stale) -> None:
        await self._rejections.keep(
            stream=stream,
            command_id=request.command_id,
            actor=request.principal.actor,
            reason=refusal.problem.detail,
            body=request.body,
        )


_AGAIN = "send it again with the same command id"


def _kept(stream: str, state: object) -> Kept:
    """Return what an accepted command is answered with for ever."""
    id_ = id_of(stream)
    number = int(id_) if id_.isdigit() else id_
    return Kept(id=number, status=state.status if isinstance(state, Task) else None)


def _fenced(lease: LeaseChange | None) -> Rejected:
    if lease is not None and lease.op is LeaseOp.EXPIRE:
        return Rejected("its runner has renewed the lease")
    return Stale("the lease of this execution is over")


def _task_of(command: do.Command) -> int:
    if isinstance(command, tell.OfExecution):
        return command.task_id
    raise NotFound("such a command without the id of its target in the subject")
