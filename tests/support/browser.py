"""A real browser without a window, driven over the DevTools protocol."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from tests.support.tab import DESK, PATIENCE_SEC, PHONE, Page, Pipe

__all__ = ["DESK", "PHONE", "Browser", "Page", "browser", "needs_browser"]

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)
LISTENING = b"DevTools listening on "
MESSAGE_MAX = 64 * 1024 * 1024


def program() -> str | None:
    """Return the browser of this machine, if it has one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


needs_browser = pytest.mark.skipif(
    program() is None, reason=f"there is no browser: none of {', '.join(NAMES)} is in PATH"
)


class Browser:
    """A running browser."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    @asynccontextmanager
    async def page(
        self, size: tuple[int, int] = PHONE, *, dark: bool = False, script: bool = True
    ) -> AsyncIterator[Page]:
        """Yield a tab of somebody who was never here before."""
        context = (await self._pipe.ask("Target.createBrowserContext"))["browserContextId"]
        target = await self._pipe.ask(
            "Target.createTarget", url="about:blank", browserContextId=context
        )
        attached = await self._pipe.ask(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        page = Page(self._pipe, attached["sessionId"], script=script)
        try:
            await page.opened(size, dark=dark)
            yield page
        finally:
            await self._pipe.ask("Target.disposeBrowserContext", browserContextId=context)


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Yield a browser with a profile of its own; afterwards nothing of it is left."""
    found = program()
    assert found is not None
    profile = Path(tempfile.mkdtemp(prefix="pandar-browser-"))
    process = await asyncio.create_subprocess_exec(
        found,
        *FLAGS,
        f"--user-data-dir={profile}",
        "about:blank",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": str(profile), "LANG": "C.UTF-8", "TZ": "UTC"},
        start_new_session=True,
    )
    try:
        async with _connected(process) as pipe:
            yield Browser(pipe)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        shutil.rmtree(profile, ignore_errors=True)


@asynccontextmanager
async def _connected(process: asyncio.subprocess.Process) -> AsyncIterator[Pipe]:
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE_SEC):
        while not (line := await process.stderr.readline()).startswith(LISTENING):
            assert line, "the browser ended"
    url = line.removeprefix(LISTENING).decode().strip()
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, max_msg_size=MESSAGE_MAX) as socket,
    ):
        pipe = Pipe(socket)
        hearing = [asyncio.create_task(pipe.run()), asyncio.create_task(_drained(process.stderr))]
        try:
            yield pipe
        finally:
            for task in hearing:
                task.cancel()
            await asyncio.wait(hearing)


async def _drained(stream: asyncio.StreamReader) -> None:
    while await stream.read(65_536):
        pass
