"""Events as they happen, over Server-Sent Events.

The id of an event is its log position, so ``Last-Event-ID`` says exactly what a client has seen
and it goes on with the next one: the log is dense, hence nothing is missed and nothing repeated.
A stream is only a cursor into the shared end of the log (`deps.Tail`); whether its client may see
an event is asked again for each one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
from aiohttp import web
from msgspec import Raw, structs

from events import codec
from events.commands import Id
from events.envelope import Recorded
from events.problem import FieldError
from events.task import Json
from pandar_daemon.adapters.http import visibility
from pandar_daemon.adapters.http.deps import PRINCIPAL, TOKEN, Deps, deps
from pandar_daemon.adapters.http.params import Query, header_number, query
from pandar_daemon.adapters.http.streaming import Sink, opened
from pandar_daemon.adapters.http.visibility import Membership
from pandar_daemon.domain.access import Permission, Principal
from pandar_daemon.domain.refusals import Invalid, Unauthenticated, Unavailable

BATCH: Final = 256
PIECE_BYTES: Final = 16_384
"""Written at once, and one event more: what a client that takes nothing can make us hold."""
MEMBERSHIP: Final = web.AppKey("MEMBERSHIP", Membership)
SSE: Final = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
_CATEGORIES: Final = frozenset(name.partition(".")[0] for name in codec.EVENTS)


class Wanted(Query, frozen=True, kw_only=True):
    """The parameters of ``GET /events``; ``type`` may be a whole type or a category."""

    project_id: Id | None = None
    type: list[str] = []


_OF_MEMBERSHIP = ("project.", "member.")
_SEALED: Final = ("secret.set", "secret.key_")
_BEHIND_SEC: Final = 1.0


def message(id_: str, name: str, data: bytes) -> bytes:
    """Return one event in the format of Server-Sent Events."""
    lines = b"".join(b"data: " + line + b"\n" for line in data.split(b"\n"))
    return f"id: {id_}\nevent: {name}\n".encode() + lines + b"\n"


def heartbeat(id_: str) -> bytes:
    """Return a comment that keeps a connection alive and moves its last id on."""
    return f": heartbeat\nid: {id_}\n\n".encode()


class Follower:
    """One client's cursor: from a position on, every event it wants and may see."""

    def __init__(
        self, needs: Deps, membership: Membership, principal: Principal, token: str
    ) -> None:
        self._needs = needs
        self._membership = membership
        self._principal = principal
        self._token = token
        self._since: int | None = None

    async def next(self, position: int) -> list[Recorded]:
        """Return the events after a position; none once the log was silent for a heartbeat."""
        tail = self._needs.tail
        batch = await tail.after(position, BATCH)
        if batch:
            return batch
        try:
            async with asyncio.timeout(self._needs.limits.heartbeat_sec):
                await tail.wait(position)
        except TimeoutError:
            return []
        return await tail.after(position, BATCH)

    def told(self, events: int) -> None:
        """Count events sent to the client."""
        self._needs.metrics.streamed(events)

    async def sees(self, recorded: Recorded) -> bool:
        """Whether the client may see an event, now.

        Judged by memberships at least as new as the last change of any that came before it: what
        somebody did in a project they just made, or were just let into, must not pass them by.
        Read models that are behind are waited for: to break the stream off would only bring its
        client back at once, when there is most to do already.
        """
        if self._since is None or recorded.type.startswith(_OF_MEMBERSHIP):
            self._since = recorded.position
        while True:
            try:
                return await self._membership.sees(
                    self._principal, recorded.project_id, self._since
                )
            except Unavailable:
                await asyncio.sleep(_BEHIND_SEC)

    async def still_valid(self) -> bool:
        """Whether the client's token is still good."""
        try:
            await self._needs.verifier.verify(self._token)
        except Unauthenticated:
            return False
        return True


def follower(request: web.Request) -> Follower:
    """Return the cursor of a request's client."""
    return Follower(deps(request), request.app[MEMBERSHIP], request[PRINCIPAL], request[TOKEN])


async def start(request: web.Request) -> int:
    """Return the position to go on after: ``Last-Event-ID``, or the end of the log.

    Raises `Invalid` for one that is beyond the end.
    """
    head = (await deps(request).store.head()).position
    seen = header_number(request, "Last-Event-ID")
    if seen is None:
        return head
    if seen > head:
        rule = (
            f"must be at most {head}, where the log ends"
            f" (so `pandar events tail --from` takes at most {head + 1})"
        )
        raise Invalid(FieldError(field="Last-Event-ID", rule=rule))
    return seen


def _chooser(wanted: Wanted) -> Callable[[Recorded], bool]:
    unknown = [
        name for name in wanted.type if name not in codec.EVENTS | dict.fromkeys(_CATEGORIES)
    ]
    if unknown:
        raise Invalid(FieldError(field="type", rule=f"{unknown[0][:64]} is no type of event"))
    types = frozenset(wanted.type)

    def choose(recorded: Recorded) -> bool:
        if wanted.project_id is not None and recorded.project_id != wanted.project_id:
            return False
        return not types or not types.isdisjoint({recorded.type, recorded.type.partition(".")[0]})

    return choose


async def stream(request: web.Request) -> web.StreamResponse:
    """Stream every event the caller may see, from now on or from ``Last-Event-ID`` on."""
    wanted = query(request, Wanted)
    choose = _chooser(wanted)
    if wanted.project_id is None:
        await visibility.readable(request, Permission.TASK_READ)
    else:
        await visibility.projects_of(request, wanted.project_id)
    position = await start(request)
    async with opened(request, SSE) as sink:
        await sink.write(b"retry: 1000\n\n")
        await _run(sink, follower(request), position, choose)
    return sink.reply


async def _run(
    sink: Sink, cursor: Follower, position: int, choose: Callable[[Recorded], bool]
) -> None:
    """Send what happens, many events in one write: the further behind, the cheaper each is."""
    while batch := await cursor.next(position) or await _beat(sink, cursor, position):
        waiting: list[bytes] = []
        size = 0
        for recorded in batch if isinstance(batch, list) else []:
            if choose(recorded) and await cursor.sees(recorded):
                waiting.append(told := _MESSAGES.of(recorded))
                size += len(told)
                if size > PIECE_BYTES:
                    await _tell(sink, cursor, waiting)
                    size = 0
            position = recorded.position
        await _tell(sink, cursor, waiting)


async def _tell(sink: Sink, cursor: Follower, waiting: list[bytes]) -> None:
    if waiting:
        await sink.write(b"".join(waiting))
        cursor.told(len(waiting))
        waiting.clear()


async def _beat(sink: Sink, cursor: Follower, position: int) -> bool:
    if not await cursor.still_valid():
        return False
    await sink.write(heartbeat(str(position)))
    return True


class _Messages:
    """What was sent last, so that an event is put into words once for all who follow."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[int, tuple[Recorded, bytes]] = {}

    def of(self, recorded: Recorded) -> bytes:
        """Return an event as a message; the oldest known is forgotten for a new one."""
        known = self._known.get(recorded.position)
        if known is not None and known[0] is recorded:
            return known[1]
        said = as_message(recorded)
        self._known[recorded.position] = recorded, said
        if len(self._known) > self._most:
            del self._known[next(iter(self._known))]
        return said


def as_message(recorded: Recorded, id_: str | None = None) -> bytes:
    """Return a recorded event as a message; its id is its position unless another is given.

    Of secrets not even what is sealed is shown: it is for runners.
    """
    if recorded.type.startswith(_SEALED):
        bare = {**msgspec.json.decode(recorded.data, type=Json), "sealed": ""}
        recorded = structs.replace(recorded, data=Raw(msgspec.json.encode(bare)))
    data = msgspec.json.encode(recorded)
    return message(id_ or str(recorded.position), recorded.type, data)


_MESSAGES: Final = _Messages(2 * BATCH)
