"""A real agent process under a driver: what a runner does, without anything but the driver."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

from events.calls import Verdict
from pandar_daemon.domain.hearing import Asked, Broken, Heard, Ready, TurnEnded
from pandar_daemon.ports.agents import Driver

_T = TypeVar("_T")
CHUNK = 65_536
PATIENCE_SEC = 60
"""So long an agent may take for anything; a test fails sooner than hang."""


class AgentProcess:
    """A conversation in progress. ``heard`` is all of it so far."""

    def __init__(self, process: asyncio.subprocess.Process, driver: Driver) -> None:
        self.process, self.driver = process, driver
        self.heard: list[Heard] = []
        self._taken = 0
        self._news = asyncio.Condition()
        self._listening = asyncio.create_task(self._listen())

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    async def _listen(self) -> None:
        assert self.process.stdout
        while True:
            data = await self.process.stdout.read(CHUNK)
            heard, out = self.driver.receive(data)
            self.write(out)
            async with self._news:
                self.heard += heard
                self._news.notify_all()
            if not data:
                return

    def write(self, data: bytes) -> None:
        """Write to its standard input; what is gone hears nothing."""
        assert self.process.stdin
        if not self.process.stdin.is_closing():
            self.process.stdin.write(data)

    async def open(self, cwd: Path, session_id: str = "") -> Ready:
        """Begin, and return when it can be prompted."""
        self.write(self.driver.open(str(cwd), session_id))
        return await self.next(Ready)

    async def next(self, kind: type[_T], fits: Callable[[_T], bool] = lambda _: True) -> _T:
        """Return the next of this kind after what was returned; fails once nothing can come."""
        async with asyncio.timeout(PATIENCE_SEC), self._news:
            while True:
                while self._taken < len(self.heard):
                    found = self.heard[self._taken]
                    self._taken += 1
                    if isinstance(found, kind) and fits(found):
                        return found
                    assert not isinstance(found, Broken), found.error
                await self._news.wait()

    async def turn(
        self, text: str, verdict: Verdict = Verdict.ALLOW, reason: str = ""
    ) -> TurnEnded:
        """Prompt, answer all that is asked with one verdict, and return the end of the turn."""
        self.write(self.driver.prompt(text))
        while True:
            found = await self.next(object, lambda each: isinstance(each, Asked | TurnEnded))
            if isinstance(found, TurnEnded):
                return found
            assert isinstance(found, Asked)
            self.write(self.driver.answer(found.request_id, verdict, reason))

    def of(self, kind: type[_T]) -> list[_T]:
        """Return all that was heard of one kind."""
        return [each for each in self.heard if isinstance(each, kind)]

    async def kill(self) -> None:
        """Kill it and what it started with SIGKILL, and wait until it is gone."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        await self.process.wait()

    async def close(self) -> None:
        """End it whatever it does."""
        await self.kill()
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)


@asynccontextmanager
async def agent_process(
    argv: Sequence[str], environment: Mapping[str, str], cwd: Path, driver: Driver
) -> AsyncIterator[AgentProcess]:
    """Start an agent in a process group of its own; kill it after."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        env=dict(environment),
        cwd=cwd,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    running = AgentProcess(process, driver)
    try:
        yield running
    finally:
        await running.close()
