"""What an attempt wrote: as JSON, as text, as a byte range, or as it comes."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Annotated, Final

from aiohttp import web
from msgspec import Meta

from events.envelope import Recorded
from events.ids import task_stream
from events.instant import text
from events.problem import FieldError, Problem
from events.task import Cut, Json, Status
from pandar_daemon.adapters.http import visibility
from pandar_daemon.adapters.http.bodies import answer
from pandar_daemon.adapters.http.deps import Deps, deps
from pandar_daemon.adapters.http.output_pipe import Pipe, gap
from pandar_daemon.adapters.http.params import Query, query
from pandar_daemon.adapters.http.problems import response
from pandar_daemon.adapters.http.runs import Runs
from pandar_daemon.adapters.http.stored_output import (
    CHARACTER_MAX,
    PIECE_MAX,
    Piece,
    last_lines,
    piece,
    text_of,
)
from pandar_daemon.adapters.http.streaming import opened
from pandar_daemon.domain.refusals import Invalid, Refusal
from pandar_daemon.ports import Chunk, OutputKey

TAIL: Final = 100
_BATCH: Final = 256
_RANGE: Final = re.compile(r"bytes=(?=\d|-\d)(\d{1,18})?-(\d{1,18})?")
_TEXT: Final = {"Content-Type": "text/plain; charset=utf-8", "X-Accel-Buffering": "no"}
_LIVE: Final = frozenset({Status.PENDING, Status.RUNNING, Status.WAITING_CONFIRMATION})

Offset = Annotated[int, Meta(ge=0, le=2**53)]


class Wanted(Query, frozen=True, kw_only=True):
    """The parameters of ``GET /tasks/{id}/output``."""

    attempt: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    tail: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    offset: Offset | None = None
    length: Annotated[int, Meta(ge=1, le=PIECE_MAX)] = PIECE_MAX
    follow: bool = False


class Unsatisfiable(Refusal):
    """416: nothing of the output is in the range asked for."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            Problem(
                type="urn:pandar:problem:range-not-satisfiable",
                title="Range not satisfiable",
                status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                detail=detail,
            )
        )


async def get(request: web.Request) -> web.StreamResponse:
    """Answer the output of an attempt, the latest one if none is named.

    The last 100 lines as JSON, unless ``tail``, or ``offset`` and ``length``, ask for others; raw
    text with ``Accept: text/plain``; the bytes of a ``Range``; with ``follow`` all there is and
    then what comes, until the attempt ends.
    """
    wanted = query(request, Wanted)
    if wanted.tail is not None and wanted.offset is not None:
        raise Invalid(FieldError(field="tail", rule="either tail or offset, not both"))
    row = await visibility.task(request)
    if wanted.follow:
        return await _follow(request, row, wanted)
    key = _key(row, wanted.attempt or max(1, int(row["attempt"])))
    over = _over(row, key.attempt)
    past = await _past(deps(request), key) if over else {}
    if "Range" in request.headers:
        return await _range(request, key, await _total(deps(request), key, past))
    found = await _find(deps(request), key, wanted)
    if _wants_text(request):
        return _raw(found)
    last = wanted.offset is None or len(found.data) < wanted.length
    final = (over and last) or wanted.length < CHARACTER_MAX
    content, end = text_of(found, final=final)
    return answer(
        {
            "task_id": key.task_id,
            "attempt": key.attempt,
            "output": content,
            "offset": found.offset,
            "next_offset": end,
            "cut": past.get("cut") or found.cut,
            "is_complete": over,
            "timestamp": text(deps(request).clock.now()),
        }
    )


def _key(row: Json, attempt: int) -> OutputKey:
    return OutputKey(project_id=int(row["project_id"]), task_id=int(row["id"]), attempt=attempt)


def _over(row: Json, attempt: int) -> bool:
    return attempt < int(row["attempt"]) or row["status"] not in _LIVE


async def _past(needs: Deps, key: OutputKey) -> Json:
    """Return the row of an attempt that is over, ``{}`` while the read models have none."""
    rows = await needs.tasks.executions(key.task_id)
    ended = (r for r in rows if r["attempt"] == key.attempt and r["completed_at"] is not None)
    return next(ended, {})


async def _total(needs: Deps, key: OutputKey, past: Json) -> int | None:
    """Return how many bytes an attempt wrote, ``None`` while nobody can tell.

    Of one whose runner was lost that is as many as have come.
    """
    if not past:
        return None
    written = past["output_bytes"]
    return await needs.outputs.size(key) if written is None else int(written)


def _wants_text(request: web.Request) -> bool:
    accepted = request.headers.get("Accept", "")
    return "text/plain" in accepted and "application/json" not in accepted


async def _find(needs: Deps, key: OutputKey, wanted: Wanted) -> Piece:
    if wanted.offset is None:
        lines = TAIL if wanted.tail is None else wanted.tail
        return await last_lines(needs.outputs, key, lines)
    return await piece(needs.outputs, key, wanted.offset, wanted.length)


def _raw(found: Piece) -> web.Response:
    headers = {**_TEXT, "Pandar-Output-Offset": str(found.offset)}
    return web.Response(body=found.data, headers=headers)


async def _range(request: web.Request, key: OutputKey, total: int | None) -> web.Response:
    whole = "*" if total is None else str(total)
    try:
        found = await _bytes(deps(request), key, request.headers["Range"].replace(" ", ""), total)
    except Unsatisfiable as refusal:
        return response(refusal.problem, {"Content-Range": f"bytes */{whole}"} if total else {})
    shown = f"bytes {found.offset}-{found.end - 1}/{whole}"
    headers = {**_TEXT, "Content-Range": shown, "Accept-Ranges": "bytes"}
    return web.Response(body=found.data, status=HTTPStatus.PARTIAL_CONTENT, headers=headers)


async def _bytes(needs: Deps, key: OutputKey, asked: str, total: int | None) -> Piece:
    """Return bytes of a range, at least one; raises `Unsatisfiable`."""
    first, last = _bounds(asked, total)
    found = await piece(needs.outputs, key, first, min(last - first + 1, PIECE_MAX))
    data = found.data[: max(0, last - found.offset + 1)]
    if not data:
        raise Unsatisfiable(f"there is no output from byte {first} to byte {last}, yet")
    return Piece(offset=found.offset, data=data)


def _bounds(asked: str, total: int | None) -> tuple[int, int]:
    """Return the first and the last byte a range asks for; raises `Unsatisfiable`.

    The last bytes can be told only of an output that is complete.
    """
    match = _RANGE.fullmatch(asked)
    if not match:
        raise Unsatisfiable("one range of the form bytes=<first>-[<last>] or bytes=-<n> can be had")
    if match[1] is None and total is None:
        raise Unsatisfiable("the last bytes can be had once the attempt is over")
    first = int(match[1]) if match[1] else max(0, (total or 0) - int(match[2]))
    last = int(match[2]) if match[1] and match[2] else first + PIECE_MAX - 1
    if last < first:
        raise Unsatisfiable("the range ends before it begins")
    return first, last


async def _follow(request: web.Request, row: Json, wanted: Wanted) -> web.StreamResponse:
    needs = deps(request)
    stream = task_stream(int(row["id"]))
    position = (await needs.store.head()).position
    runs = Runs()
    runs.observe(await needs.store.read_stream(stream, up_to=position))
    key = _key(row, wanted.attempt or runs.attempt)
    start = wanted.offset or 0
    if wanted.tail is not None:
        start = (await last_lines(needs.outputs, key, wanted.tail)).offset
    async with opened(request, {**_TEXT, "Pandar-Attempt": str(key.attempt)}) as sink:

        async def emit(chunk: Chunk, missing: Cut | None) -> None:
            await sink.write((gap(missing) if missing else b"") + chunk.data)

        ending = Ending(needs, stream, position, runs)
        await Pipe(needs.outputs, key, start, emit).run(ending.of(key.attempt))
    return sink.reply


class Ending:
    """Waits for the end of an attempt."""

    def __init__(self, needs: Deps, stream: str, position: int, runs: Runs) -> None:
        self._needs = needs
        self._stream = stream
        self._position = position
        self._runs = runs

    async def of(self, attempt: int) -> int:
        """Return how many bytes the attempt wrote, once it is over."""
        while (written := self._runs.written(attempt)) is None:
            batch = await self._next()
            self._runs.observe(event for event in batch if event.stream == self._stream)
        return written

    async def _next(self) -> list[Recorded]:
        await self._needs.tail.wait(self._position)
        batch = await self._needs.tail.after(self._position, _BATCH)
        self._position = batch[-1].position if batch else self._position
        return batch
