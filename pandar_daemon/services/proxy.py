"""The proxy agent: answers what another one asks, so that nobody needs to be woken for it.

It is started anew for each question, in the task's workspace and with a home of its own, is refused
whatever it wants to do, and is killed once it has answered.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
import structlog

from events.calls import Verdict
from events.running import Assignment
from pandar_daemon.domain.hearing import (
    Asked,
    Broken,
    Heard,
    Questioned,
    Ready,
    Said,
    Stop,
    TurnEnded,
)
from pandar_daemon.domain.proxy_texts import answer_in, proxy_prompt
from pandar_daemon.ports import HELPER, Driver, Process
from pandar_daemon.services.line import Line
from pandar_daemon.services.making import Tree
from pandar_daemon.services.means import Means
from pandar_daemon.services.unattended import unattended
from pandar_daemon.services.workspace import agent_spec

log = structlog.get_logger(__name__)

ANSWER_SEC: Final = 120.0
"""What a proxy agent may take to answer."""
SAID_MAX: Final = 20_000


class Proxy:
    """One execution's proxy agent; at most one process at a time."""

    def __init__(self, name: str, assignment: Assignment, means: Means, line: Line) -> None:
        self._name = name
        self._assignment = assignment
        self._means = means
        self._line = line
        self._until = 0.0
        self._tree: Tree | None = None
        self._process: Process | None = None

    def work_in(self, tree: Tree, *, until: float) -> None:
        """Start it in this folder; it may run until then."""
        self._tree, self._until = tree, until

    async def allow_until(self, boottime: float) -> None:
        """Let it run as long as the execution it helps."""
        self._until = boottime
        if self._process is not None:
            await self._process.allow_until(boottime)

    async def answer(self, question: str) -> str | None:
        """Return the answer, ``None`` when it does not know, fails or takes too long."""
        try:
            async with asyncio.timeout(ANSWER_SEC):
                return await self._ask(question)
        except (OSError, TimeoutError) as error:
            log.warning("proxy.failed", agent=self._name, error=str(error) or "took too long")
            return None
        finally:
            await self.end()

    async def end(self) -> None:
        """Kill its process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            await process.kill()
            await process.wait()

    async def _ask(self, question: str) -> str | None:
        assert self._tree is not None  # noqa: S101 - whom it helps runs there
        execution = msgspec.structs.replace(
            self._assignment, agent=self._name, execution_id=self._means.clock.new_id()
        )
        work = agent_spec(self._means, execution, self._tree, until=self._until, home_suffix=HELPER)
        self._process = process = await self._means.host.start(work.spec)
        async with unattended(self._means, execution, self._line, process, work.launch):
            return await self._answer(process, question, boxed=work.spec.box is not None)

    async def _answer(self, process: Process, question: str, *, boxed: bool) -> str | None:
        driver = self._means.agents.driver(self._name, boxed=boxed)
        await process.talk.write(driver.open(self._tree.path if self._tree else ""))
        shown = asyncio.create_task(_drain(process))
        try:
            said = await _conversation(driver, process, proxy_prompt(self._assignment, question))
        finally:
            shown.cancel()
        return answer_in(said)


async def _drain(process: Process) -> None:
    async for _ in process.output():
        pass


async def _conversation(driver: Driver, process: Process, prompt: str) -> str:
    """Return all it says in one turn; empty when the turn was no success."""
    said = ""
    while True:
        data = await process.talk.read()
        heard, reply = driver.receive(data)
        if reply:
            await process.talk.write(reply)
        for each in heard:
            if isinstance(each, Said) and not each.thought:
                said = (said + each.text)[-SAID_MAX:]
            elif isinstance(each, TurnEnded):
                return said if each.stop is Stop.DONE else ""
            elif isinstance(each, Broken):
                return ""
            elif answer := _answer(driver, each, prompt):
                await process.talk.write(answer)


def _answer(driver: Driver, heard: Heard, prompt: str) -> bytes:
    match heard:
        case Ready():
            return driver.prompt(prompt)
        case Asked(request_id=request) | Questioned(request_id=request):
            return driver.answer(request, Verdict.DENY, "Only answer the question.")
        case _:
            return b""
