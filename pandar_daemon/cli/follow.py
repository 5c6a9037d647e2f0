"""``pandar task logs`` and ``--follow``: what a task wrote, and how it ended."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final

from events.envelope import Recorded
from events.task import TERMINAL, Json, Status
from pandar_daemon.cli.api_client import Api
from pandar_daemon.cli.following import Following, Output
from pandar_daemon.cli.output import OF_STATUS, Exit, err_look, say_json
from pandar_daemon.cli.printer import How, Printer
from pandar_daemon.cli.resume import messages
from pandar_daemon.cli.rows import TaskRow, read
from pandar_daemon.cli.sse import Message
from pandar_daemon.cli.status_line import status_line
from pandar_daemon.cli.waits import SILENT_SEC, Waits

_PIECE: Final = 1024 * 1024


async def print_output(api: Api, document: Json, how: How) -> None:
    """Print what a task wrote so far; ``document`` is its row."""
    row = read(TaskRow, document)
    if how.json:
        say_json(await _whole(api, row, how))
        return
    printer = Printer(how)
    async for piece in _pieces(api, row, how):
        printer.output(piece)
    printer.close()


async def follow_task(api: Api, document: Json, how: How) -> Exit:
    """Print what a task wrote and what it writes, until it ends or needs somebody.

    ``document`` is its row. Returns the exit code that says how it ended; a line on stderr says
    it too.
    """
    row, printer, following = read(TaskRow, document), Printer(how), Following()
    attempt = how.attempt or max(row.attempt, 1)
    end = 0
    async for piece in _pieces(api, row, how):
        printer.output(piece)
        end = piece.end
    if row.status not in OF_STATUS and attempt >= row.attempt:
        following.position = row.position
        if row.status is Status.RUNNING and row.progress:
            printer.progress(row.progress)
        try:
            await _watch(api, printer, f"/tasks/{row.id}", f"{attempt}.{end}", following, how)
        finally:
            printer.close()
        seen = {"Pandar-Min-Position": str(following.position)}
        document = await api.get(f"/tasks/{row.id}", headers=seen)
    else:
        printer.close()
    return _ended(document, following.ending, printer, how)


def _ended(document: Json, ending: Status | None, printer: Printer, how: How) -> Exit:
    row = read(TaskRow, document)
    if how.json:
        say_json({"type": "end", "status": ending or row.status, "task": document})
    else:
        printer.end_line()
        sys.stderr.write(status_line(row, err_look()))
    return OF_STATUS.get(ending or row.status, Exit.OK)


async def _watch(
    api: Api, printer: Printer, path: str, place: str, following: Following, how: How
) -> None:
    after = f"{following.position}.{place}"
    stream = messages(api, f"{path}/stream", after=after, remark=printer.remark)
    waits = Waits(api, path, printer.remark)
    async with aclosing(stream):
        async for message in _patient(stream, following, waits):
            match following.take(message):
                case Output() as piece:
                    printer.output(await _exact(api, path, piece) if how.raw else piece)
                case Recorded() as recorded:
                    printer.happened(recorded)


async def _patient(
    stream: AsyncGenerator[Message, None], following: Following, waits: Waits
) -> AsyncIterator[Message]:
    """Iterate over messages until none came for as long as is worth waiting."""
    while True:
        coming = asyncio.ensure_future(anext(stream))
        try:
            if not await _came(coming, following, waits):
                return
        finally:
            if not coming.done():
                coming.cancel()
                await asyncio.wait([coming])
        yield coming.result()


async def _came(coming: asyncio.Future[Message], following: Following, waits: Waits) -> bool:
    """Return whether a message came; while it may take for ever, say why it does."""
    patience = following.patience_sec
    pause: float | None = SILENT_SEC
    if patience is not None:
        await asyncio.wait([coming], timeout=patience)
        return coming.done()
    while not coming.done():
        await asyncio.wait([coming], timeout=pause)
        if not coming.done():
            pause = await waits.look(following.position)
    return True


async def _exact(api: Api, path: str, piece: Output) -> Output:
    """Return a piece with its bytes as they were, where its text is not them."""
    if piece.end - piece.offset == len(piece.data):
        return piece
    return await _fetch(
        api, path, piece.attempt, offset=piece.offset, most=piece.end - piece.offset
    )


async def _fetch(
    api: Api,
    path: str,
    attempt: int,
    *,
    offset: int = 0,
    most: int = _PIECE,
    tail: int | None = None,
) -> Output:
    params = {"attempt": str(attempt)}
    if tail is None:
        params |= {"offset": str(offset), "length": str(most)}
    else:
        params["tail"] = str(tail)
    async with api.stream(f"{path}/output", params, {"Accept": "text/plain"}) as answer:
        start = int(answer.headers.get("Pandar-Output-Offset", offset))
        data = await answer.read()
    return Output(attempt=attempt, offset=start, end=start + len(data), data=data)


async def _pieces(api: Api, row: TaskRow, how: How) -> AsyncIterator[Output]:
    """Iterate over what is stored of an attempt, from its beginning or its last lines on."""
    attempt, path = how.attempt or max(row.attempt, 1), f"/tasks/{row.id}"
    piece = await _fetch(api, path, attempt, tail=how.tail)
    while piece.data:
        yield piece
        if how.tail is not None:
            return
        piece = await _fetch(api, path, attempt, offset=piece.end)


async def _whole(api: Api, row: TaskRow, how: How) -> Json:
    attempt = how.attempt or max(row.attempt, 1)
    pieces = [piece async for piece in _pieces(api, row, how)]
    return {
        "task_id": row.id,
        "attempt": attempt,
        "offset": pieces[0].offset if pieces else 0,
        "output": b"".join(piece.data for piece in pieces).decode("utf-8", "replace"),
        "is_complete": attempt < row.attempt or row.status in TERMINAL,
    }
