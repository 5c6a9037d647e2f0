"""A small server that answers as the HTTP API does, and the command line as a process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

import msgspec
from aiohttp import web

from events.task import Json

TOKEN = "header.claims.signature"
PENDING: Json = {
    "id": 42,
    "project_id": 1,
    "name": "Nightly audit",
    "description": "",
    "command": "codex audit",
    "priority": "medium",
    "status": "pending",
    "status_reason": "queued",
    "progress": 0,
    "output": None,
    "error": None,
    "exit_code": None,
    "duration": None,
    "metadata": {},
    "created_by": "7",
    "created_at": "2026-01-31T11:57:00Z",
    "updated_at": "2026-01-31T11:57:00Z",
    "started_at": None,
    "completed_at": None,
    "scheduled_at": None,
    "attempt": 0,
    "execution_id": None,
    "runner_id": None,
    "confirmation_id": None,
    "version": 2,
    "position": 10,
}
CONFIRMATION = "0198c1de-0000-7000-8000-000000000001"
WAITING = {
    **PENDING,
    "id": 41,
    "name": "Older, waits",
    "status": "waiting_confirmation",
    "status_reason": "gate:git_push",
    "confirmation_id": CONFIRMATION,
}


def recorded(position: int, type_: str, data: Json) -> Json:
    """Return an event as the streams of the API carry it."""
    return {
        "position": position,
        "stream": "task-42",
        "version": position,
        "event_id": CONFIRMATION,
        "type": type_,
        "schema_version": 1,
        "recorded_at": "2026-01-31T12:00:00Z",
        "actor": "user:7",
        "project_id": 1,
        "command_id": "c",
        "correlation_id": "c",
        "causation_id": None,
        "traceparent": None,
        "data": {"type": type_, **data},
    }


def message(id_: str, event: str, data: Json) -> bytes:
    """Return a Server-Sent Event."""
    return f"id: {id_}\nevent: {event}\ndata: {json.dumps(data)}\n\n".encode()


class Asked(NamedTuple):
    """A request the server got."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Json


class RecordedApi:
    """Serves answers by ``(method, path)``; a list of chunks is streamed, then broken off."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], list[object]] = {}
        self.asked: list[Asked] = []
        self.url = ""

    def answer(self, method: str, path: str, *answers: object) -> None:
        """Give these answers, one a request, the last one for ever."""
        self.answers[method, f"/api/v1{path}"] = list(answers)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        text = await request.text()
        body = json.loads(text) if text else {}
        self.asked.append(
            Asked(request.method, request.path, dict(request.query), request.headers, body)
        )
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return problem({"type": "x", "title": "A valid token is needed", "status": 401})
        left = self.answers[request.method, request.path]
        given = left.pop(0) if len(left) > 1 else left[0]
        match given:
            case bytes():
                return web.Response(body=given, headers={"Pandar-Output-Offset": "0"})
            case list():
                return await streamed(request, given)
            case dict() if isinstance(given.get("status"), int):
                return problem(given)
            case _:
                return web.json_response(given)


def problem(document: Json) -> web.Response:
    """Return a problem as the API does."""
    body = msgspec.json.encode(document)
    kind = "application/problem+json"
    return web.Response(status=document["status"], body=body, content_type=kind)


async def streamed(request: web.Request, chunks: list[bytes]) -> web.StreamResponse:
    """Stream what the client has not seen and go on for ever; a last ``b""`` breaks it off."""
    seen = f"id: {request.headers.get('Last-Event-ID', '')}\n".encode()
    known = next((n + 1 for n, chunk in enumerate(chunks) if chunk.startswith(seen)), 0)
    reply = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await reply.prepare(request)
    for chunk in chunks[known:]:
        await reply.write(chunk)
    if chunks[-1] == b"" and request.transport is not None:
        request.transport.close()
        return reply
    await asyncio.get_running_loop().create_future()
    return reply


@asynccontextmanager
async def recorded_api() -> AsyncIterator[RecordedApi]:
    """Give a server that answers as told."""
    api = RecordedApi()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield api
    await runner.cleanup()


class Ran(NamedTuple):
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


def environment(api: RecordedApi | None = None, **more: str) -> dict[str, str]:
    """Return an environment in which the command line knows the server, and nothing else."""
    known = {"PANDAR_URL": api.url, "PANDAR_TOKEN": TOKEN} if api else {}
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **known, **more}


def _heed_interrupts() -> None:
    """Heed Ctrl-C even where the tests run in the background, which ignores it for all."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@asynccontextmanager
async def started(
    *arguments: str,
    env: Mapping[str, str],
    stdin: int = asyncio.subprocess.DEVNULL,
    stdout: int = asyncio.subprocess.PIPE,
    stderr: int = asyncio.subprocess.PIPE,
    session: bool = False,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Give a running command, killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "pandar_daemon",
        *arguments,
        env=env,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        preexec_fn=_heed_interrupts,
        start_new_session=session,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def pandar(api: RecordedApi | None, *arguments: str, **more: str) -> Ran:
    """Run a command to its end."""
    async with started(*arguments, env=environment(api, **more)) as process:
        out, err = await process.communicate()
        return Ran(process.returncode or 0, out.decode(), err.decode())
