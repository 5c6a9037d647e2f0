"""One task, live: its events and its output in one stream of Server-Sent Events.

Ids are log positions. Once output has been sent they are ``<position>.<attempt>.<offset>``, so
that a client that comes back goes on in both, with nothing missed and nothing repeated.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import msgspec
from aiohttp import web
from msgspec import Struct
from msgspec.structs import replace

from events.envelope import Recorded
from events.ids import ID_MAX, task_stream
from events.problem import FieldError
from events.task import Cut, Json
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
from pandar_daemon.adapters.http.output_pipe import Emit, Pipe
from pandar_daemon.adapters.http.params import Query, query
from pandar_daemon.adapters.http.runs import Runs
from pandar_daemon.adapters.http.stored_output import Piece, text_of
from pandar_daemon.adapters.http.streaming import Sink, opened
from pandar_daemon.domain.refusals import Invalid
from pandar_daemon.ports import Chunk, OutputKey

T = TypeVar("T")
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
        rule = f"an id of this stream, at most {head}"
        raise Invalid(FieldError(field="Last-Event-ID", rule=rule))
    return Place(int(match[1]), int(match[2] or 0), int(match[3] or 0))


async def stream(request: web.Request) -> web.StreamResponse:
    """Stream a task's whole history, then what happens to it; or all after ``Last-Event-ID``."""
    wanted = query(request, Wanted)
    row = await visibility.task(request)
    needs = deps(request)
    head = (await needs.store.head()).position
    began = place(request, head)
    history = await needs.store.read_stream(task_stream(int(row["id"])), up_to=head)
    runs = Runs()
    runs.observe(history)
    async with opened(request, SSE) as sink:
        await sink.write(b"retry: 1000\n\n")
        task = _Task(needs, sink, row, began, runs)
        await task.run(follower(request), history, head, output=wanted.output)
    return sink.reply


def _started(runs: Runs, attempt: int) -> bool | None:
    return runs.started(attempt) or None


class _Task:
    """One client of one task."""

    def __init__(self, needs: Deps, sink: Sink, row: Json, began: Place, runs: Runs) -> None:
        self._needs = needs
        self._sink = sink
        self._stream = task_stream(int(row["id"]))
        self._key = OutputKey(project_id=int(row["project_id"]), task_id=int(row["id"]), attempt=1)
        self._place = began
        self._runs = runs
        self._news = asyncio.Event()
        self._left = b""

    async def run(
        self, cursor: Follower, history: list[Recorded], head: int, *, output: bool
    ) -> None:
        """Go on until the client leaves, or may not see the task any more."""
        async with asyncio.TaskGroup() as group:
            carrying = group.create_task(self._carry()) if output else None
            for recorded in history:
                await self._tell(recorded)
            await self._follow(cursor, head)
            if carrying:
                carrying.cancel()

    async def _follow(self, cursor: Follower, position: int) -> None:
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
                self._runs.observe([recorded])
                self._news.set()
                await self._tell(recorded)

    async def _tell(self, recorded: Recorded) -> None:
        if recorded.position > self._place.position:
            self._place = replace(self._place, position=recorded.position)
            await self._sink.write(as_message(recorded, str(self._place)))
            self._needs.metrics.streamed()

    async def _carry(self) -> None:
        attempt, offset = self._place.attempt or self._runs.attempt, self._place.offset
        while True:
            await self._until(partial(_started, attempt=attempt))
            key = replace(self._key, attempt=attempt)
            self._left = b""
            pipe = Pipe(self._needs.outputs, key, offset, self._emitter(attempt))
            await pipe.run(self._until(partial(Runs.written, attempt=attempt)))
            attempt, offset = attempt + 1, 0

    async def _until(self, known: Callable[[Runs], T | None]) -> T:
        while (found := known(self._runs)) is None:
            self._news.clear()
            await self._news.wait()
        return found

    def _emitter(self, attempt: int) -> Emit:
        async def emit(chunk: Chunk, missing: Cut | None) -> None:
            left = b"" if missing else self._left
            found = Piece(offset=chunk.offset - len(left), data=left + chunk.data)
            content, end = text_of(found, final=False)
            self._left = found.data[end - found.offset :]
            self._place = replace(self._place, attempt=attempt, offset=end)
            data = {"attempt": attempt, "offset": found.offset, "text": content}
            body = msgspec.json.encode(data)
            await self._sink.write(message(str(self._place), "output", body))

        return emit
