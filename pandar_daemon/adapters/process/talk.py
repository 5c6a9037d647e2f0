"""Talking with what runs: through pipes of its own, or by typing on its terminal."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

READ_BYTES = 65_536


class Pipes:
    """Our ends of a program's standard input and output. Each is closed once."""

    def __init__(self, their_input: int, their_output: int) -> None:
        for descriptor in (their_input, their_output):
            os.set_blocking(descriptor, False)
        self._open = {"input": their_input, "output": their_output}
        self._is_over = False
        self._writing = asyncio.Lock()
        self._waiting: dict[str, asyncio.Future[None]] = {}

    async def write(self, data: bytes) -> None:
        """Give it all of this, waiting while it takes none; in vain once it reads no more."""
        async with self._writing:
            while data and "input" in self._open:
                data = data[await self._write_some(data) :]

    async def _write_some(self, data: bytes) -> int:
        try:
            return os.write(self._open["input"], data)
        except BlockingIOError:
            await self._ready("input")
            return 0
        except OSError:  # nobody holds the other end
            self.close_input()
            return 0

    async def read(self) -> bytes:
        """Return what it wrote next; empty once nobody can write more."""
        while "output" in self._open:
            try:
                data = os.read(self._open["output"], READ_BYTES)
            except BlockingIOError:
                if not self._is_over:
                    await self._ready("output")
                    continue
                data = b""
            if data:
                return data
            self._close("output")
        return b""

    def close_input(self) -> None:
        """Let it read the end of its input. Idempotent."""
        self._close("input")

    def is_awaited(self) -> bool:
        """Return that nobody is known to wait: who reads a pipe may always do."""
        return False

    def finish(self) -> None:
        """Nothing of the tree is left: what is in the pipe is the last, whoever holds its end."""
        self._is_over = True
        if "output" in self._waiting:
            _done(self._waiting["output"])

    def close(self) -> None:
        """Let go of both; who waits to read or write is let go too."""
        self._close("input")
        self._close("output")

    def _close(self, name: str) -> None:
        descriptor = self._open.pop(name, None)
        if descriptor is None:
            return
        ready = self._waiting.get(name)
        if ready is not None:
            _ignore(ready.get_loop(), name, descriptor)
            _done(ready)
        os.close(descriptor)

    async def _ready(self, name: str) -> None:
        """Return when this end can be used, or is closed."""
        loop, descriptor = asyncio.get_running_loop(), self._open[name]
        ready = self._waiting[name] = loop.create_future()
        add = loop.add_writer if name == "input" else loop.add_reader
        add(descriptor, _done, ready)
        try:
            await ready
        finally:
            del self._waiting[name]
            if name in self._open:
                _ignore(loop, name, descriptor)


class Keyboard:
    """A terminal's keyboard; what it shows is read elsewhere."""

    def __init__(self, terminal: Callable[[], int | None], is_awaited: Callable[[], bool]) -> None:
        self._terminal = terminal
        self.is_awaited = is_awaited

    async def write(self, data: bytes) -> None:
        """Type this, as far as the terminal takes it; in vain once it is closed."""
        while data and (terminal := self._terminal()) is not None:
            try:
                data = data[os.write(terminal, data) :]
            except BlockingIOError:  # a full line discipline: who does not read gets no more
                return
            except OSError:
                return

    async def read(self) -> bytes:
        """Return nothing: what it says is on the terminal."""
        return b""

    def close_input(self) -> None:
        """Do nothing: a terminal's input has no end."""


def _ignore(loop: asyncio.AbstractEventLoop, name: str, descriptor: int) -> None:
    (loop.remove_writer if name == "input" else loop.remove_reader)(descriptor)


def _done(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
