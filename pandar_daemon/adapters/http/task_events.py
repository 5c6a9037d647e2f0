"""One task, live: its events and its output in one stream of Server-Sent Events.

Ids are log positions. Once output has been sent they are ``<position>.<attempt>.<offset>``, so
that a client that comes back goes on in both, with nothing missed and nothing repeated: it still
needs the output of every attempt that ends after ``position``, of ``attempt`` from ``offset`` on.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec
from aiohttp import web
from msgspec import Struct
from msgspec.structs import replace

from events.envelope import Recorded
from events.ids import ID_MAX, task_stream
from events.problem import FieldError
from events.task import Json
from pandar_daemon.adapters.http import visibility
from pandar_daemon.adapters.http.deps import Deps, deps
from pandar_daemon.adapters.http.events import (
    SSE,
    Follower,
    as_message,
    follower,
    heartbeat,
    message,
)
from pandar_daemon.adapters.http.output_pipe import Pipe
from pandar_daemon.adapters.http.params import Query, query
from pandar_daemon.adapters.http.runs import UNKNOWN, Runs
from pandar_daemon.adapters.http.streaming import Sink, opened
from pandar_daemon.adapters.http.transcript import Transcript
from pandar_daemon.domain.refusals import Invalid
from pandar_daemon.ports import OutputKey

FRESH_SEC: Final = 60.0
"""How long after an attempt's end some of its output may still be on its way."""

_ID: Final = re.compile(r"(\d{1,18})(?:\.(\d{1,9})\.(\d{1,18}))?")


class Wanted(Query, frozen=True, kw_only=True):
    """The parameters of ``GET /tasks/{id}/stream``."""

    output: bool = True


class Place(Struct, frozen=True):
    """Where a client is: in the log, and in the output of an attempt."""

    position: int = 0
    attempt: int = 0
    offset: int = 0

    def __str__(self) -> str:
        """Return the id of the message that brings a client here."""
        return (
            f"{self.position}.{self.attempt}.{self.offset}" if self.attempt else str(self.position)
        )


def place(request: web.Request, head: int) -> Place:
    """Return where ``Last-Event-ID`` says the client is; before the beginning without one.

    Raises `Invalid` for one we did not give.
    """
    given = request.headers.get("Last-Event-ID")
    match = _ID.fullmatch(given or "0")
    if not match or int(match[1]) > min(head, ID_MAX):
        rule = f"must be an id that this stream gave; the log ends at position {head}"
        raise Invalid(FieldError(field="Last-Event-ID", rule=rule))
    return Place(int(match[1]), int(match[2] or 0), int(match[3] or 0))


async def stream(request: web.Request) -> web.StreamResponse:
    """Stream a task's whole history, then what happens to it; or all after ``Last-Event-ID``.

    What an attempt wrote comes before the event that ends it, so that whoever stops at
    ``task.completed`` has everything.
    """
    wanted = query(request, Wanted)
    row = await visibility.task(request)
    needs = deps(request)
    head = (await needs.store.head()).position
    began = place(request, head)
    history = await needs.store.read_stream(task_stream(int(row["id"])), up_to=head)
    async with opened(request, SSE) as sink:
        await sink.write(b"retry: 1000\n\n")
        async with asyncio.TaskGroup() as group:
            task = _Task(needs, sink, row, began, group if wanted.output else None)
            await task.replay(history)
            await task.follow(follower(request), head)
            task.stop()
    return sink.reply


class _Task:
    """One client of one task; ``group`` runs what carries output, ``None`` for no output."""

    def __init__(
        self, needs: Deps, sink: Sink, row: Json, began: Place, group: asyncio.TaskGroup | None
    ) -> None:
        self._needs = needs
        self._sink = sink
        self._stream = task_stream(int(row["id"]))
        self._key = OutputKey(project_id=int(row["project_id"]), task_id=int(row["id"]), attempt=1)
        self._began = began
        self._place = began
        self._group = group
        self._runs = Runs()
        self._carrying: _Carrying | None = None

    async def replay(self, history: Sequence[Recorded]) -> None:
        """Send what the client has not seen of the past."""
        seen = [recorded for recorded in history if recorded.position <= self._began.position]
        self._runs.observe(seen)
        if self._runs.running != self._began.attempt and self._runs.started(self._began.attempt):
            await self._recall(self._began.attempt, fresh=False)
        for recorded in history[len(seen) :]:
            if (ended := self._observe(recorded)) is not None:
                age = self._needs.clock.now() - recorded.recorded_at
                await self._recall(ended, fresh=age.total_seconds() < FRESH_SEC)
            await self._tell(recorded)
        self._begin()

    async def follow(self, cursor: Follower, position: int) -> None:
        """Send what happens until the client leaves, or may not see the task any more."""
        while True:
            batch = await cursor.next(position)
            if not batch:
                if not await cursor.still_valid():
                    return
                await self._sink.write(heartbeat(str(self._place)))
            for recorded in batch:
                position = recorded.position
                if recorded.stream != self._stream:
                    continue
                if not await cursor.sees(recorded):
                    return
                await self._happened(recorded)

    async def _happened(self, recorded: Recorded) -> None:
        ended = self._observe(recorded)
        if ended is not None and self._carrying is not None:
            await self._carrying.finish(self._runs.written(ended))
            self._carrying = None
        await self._tell(recorded)
        self._begin()

    def _observe(self, recorded: Recorded) -> int | None:
        """Take note of what happened; return the attempt that it ended, if it did."""
        before = self._runs.running
        self._runs.observe([recorded])
        return before if self._runs.running != before else None

    async def _tell(self, recorded: Recorded) -> None:
        if recorded.position > self._place.position:
            self._place = replace(self._place, position=recorded.position)
            await self._sink.write(as_message(recorded, str(self._place)))
            self._needs.metrics.streamed()

    async def _recall(self, attempt: int, *, fresh: bool) -> None:
        """Send the output of an attempt that is over; of a ``fresh`` one some may still come."""
        if self._group is None or attempt < max(1, self._began.attempt):
            return
        transcript, pipe = self._output_of(attempt)
        await pipe.stored()
        written = self._runs.written(attempt)
        if fresh and written is not None and (written == UNKNOWN or pipe.end < written):
            await pipe.run(_known(written))
        await transcript.close()

    def _begin(self) -> None:
        """Carry the output of the attempt that runs, unless that is being done."""
        attempt = self._runs.running
        if self._carrying or not self._group or attempt is None or attempt < self._began.attempt:
            return
        self._carrying = _Carrying(*self._output_of(attempt), self._group)

    def stop(self) -> None:
        """Send no more output."""
        if self._carrying:
            self._carrying.cancel()

    def _output_of(self, attempt: int) -> tuple[Transcript, Pipe]:
        transcript = Transcript(partial(self._wrote, attempt))
        start = self._began.offset if attempt == self._began.attempt else 0
        key = replace(self._key, attempt=attempt)
        return transcript, Pipe(self._needs.outputs, key, start, transcript.emit)

    async def _wrote(self, attempt: int, offset: int, end: int, text: str) -> None:
        self._place = replace(self._place, attempt=attempt, offset=end)
        data = {"attempt": attempt, "offset": offset, "text": text}
        await self._sink.write(message(str(self._place), "output", msgspec.json.encode(data)))


class _Carrying:
    """The output of the attempt that runs, on its way to the client."""

    def __init__(self, transcript: Transcript, pipe: Pipe, group: asyncio.TaskGroup) -> None:
        self._transcript = transcript
        self._written: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._task = group.create_task(pipe.run(_of(self._written)))

    async def finish(self, written: int | None) -> None:
        """Return once all of it has been sent, or what is left will never come."""
        self._written.set_result(UNKNOWN if written is None else written)
        await self._task
        await self._transcript.close()

    def cancel(self) -> None:
        """Send no more."""
        self._task.cancel()


async def _of(written: asyncio.Future[int]) -> int:
    return await written


async def _known(written: int) -> int:
    return written
