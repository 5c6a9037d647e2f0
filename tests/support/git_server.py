"""A repository behind HTTP on this machine, by git's own CGI program."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from tests.support.daemon import free_port
from tests.support.repositories import ENVIRONMENT


@asynccontextmanager
async def git_server(folder: Path, authorization: str = "") -> AsyncIterator[str]:
    """Yield the URL under which the repositories of a folder are; to who says so, if to anybody."""

    async def handle(request: web.Request) -> web.Response:
        if authorization and request.headers.get("Authorization") != authorization:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="git"'})
        return await _answered(folder, request)

    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


async def _answered(folder: Path, request: web.Request) -> web.Response:
    """Return what the CGI program answers."""
    process = await asyncio.create_subprocess_exec(
        *("git", "http-backend"),
        env={
            **ENVIRONMENT,
            "GIT_PROJECT_ROOT": str(folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": request.path,
            "QUERY_STRING": request.query_string,
            "REQUEST_METHOD": request.method,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": "",
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        },
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate(await request.read())
    head, _, body = told.partition(b"\r\n\r\n")
    lines = [line.partition(": ") for line in head.decode().splitlines()]
    headers = {name: value for name, _, value in lines}
    status = int(headers.pop("Status", "200").split()[0])
    return web.Response(status=status, body=body, headers=headers)
