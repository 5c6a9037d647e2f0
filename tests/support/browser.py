"""A real browser without a window, driven over the DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

Json = Any
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
PATIENCE_SEC = 30.0
_LINE = "DevTools listening on "
_MESSAGE_MAX = 64 * 1024 * 1024

PHONE = (390, 844)
DESK = (1280, 800)


def program() -> str | None:
    """Return the browser of this machine, if it has one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


needs_browser = pytest.mark.skipif(
    program() is None, reason=f"this machine has no browser: none of {', '.join(NAMES)} in PATH"
)


class Pipe:
    """One connection to the browser; every page in it is a session."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Json]] = {}
        self.hearers: dict[str, Callable[[str, Json], None]] = {}

    async def run(self) -> None:
        """Take in what the browser says, until it ends."""
        async for message in self._socket:
            said = msgspec.json.decode(message.data)
            if "id" in said:
                waiting = self._answers.pop(said["id"], None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(said)
            elif hearer := self.hearers.get(said.get("sessionId", "")):
                hearer(said["method"], said["params"])

    async def ask(self, method: str, params: Json, session: str = "") -> Json:
        """Return the result of a command; fails when the browser refuses it."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        body = {"id": number, "method": method, "params": params}
        if session:
            body["sessionId"] = session
        await self._socket.send_bytes(msgspec.json.encode(body)) if False else None
        await self._socket.send_str(msgspec.json.encode(body).decode())
        async with asyncio.timeout(PATIENCE_SEC):
            said = await self._answers[number]
        assert "error" not in said, (method, said["error"])
        return said["result"]
