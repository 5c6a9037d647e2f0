"""A run of an agent whose lines, and whose daemon's answers, are a test's."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar
from uuid import UUID

import msgspec
from msgspec.structs import replace

from events.running import Assignment, Decided, Granted
from pandar_daemon.domain import talking as talk
from pandar_daemon.domain.conversation import Conversation
from pandar_daemon.domain.options import TaskOptions
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.ports import Headers
from pandar_daemon.services.agent_run import AgentRun
from pandar_daemon.services.asking import Asker
from pandar_daemon.services.consent import Consent
from pandar_daemon.services.granted import Grants
from pandar_daemon.services.line import Line
from pandar_daemon.services.surroundings import Surroundings
from tests.support.acp_lines import Json, began, driver, hello, messages
from tests.support.calls import HOME, WORKSPACE
from tests.support.clock import ManualClock
from tests.support.talks import TERMS
from tests.support.waiting import until

EXECUTION = UUID("0195512a-7c00-7000-8000-000000000101")
ASSIGNMENT = Assignment(
    task_id=42,
    project_id=1,
    execution_id=EXECUTION,
    epoch=1,
    attempt=1,
    command="",
    name="t",
    metadata={},
    agent="robot",
    prompt="tidy up",
    rules=TERMS.rules,
)
T = TypeVar("T")


class Daemon:
    """What the run asks, and what it is answered: `Sender`, as a test wants it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes]] = []
        self.refuse: dict[str, list[Refusal]] = defaultdict(list)  # the next answers, by action
        self.silent: dict[str, asyncio.Event] = {}  # answers wait for this, by action
        self.decided = Decided()

    async def ask(
        self,
        subject: str,
        body: bytes,
        *,
        headers: Headers | None = None,  # noqa: ARG002 - the port's
        timeout_sec: float = 5.0,  # noqa: ARG002 - the port's
    ) -> bytes:
        """See `ports.Sender`."""
        action = subject.split(".")[3]
        self.asked.append((action, body))
        if action in self.silent:
            await self.silent[action].wait()
        if self.refuse[action]:
            raise self.refuse[action].pop(0)
        answers: dict[str, object] = {"decision": self.decided, "grants": Granted(items=[])}
        return msgspec.json.encode(answers.get(action, {}))

    def told(self, action: str, kind: type[T]) -> list[T]:
        """Return what was said under an action, in order."""
        return [msgspec.json.decode(body, type=kind) for each, body in self.asked if each == action]

    @property
    def actions(self) -> list[str]:
        """Return what was asked, in order, but for looks at what is not decided."""
        return [action for action, _ in self.asked if action not in {"decision", "grants"}]


class Pipe:
    """`Talk` with an agent whose lines are a test's."""

    def __init__(self) -> None:
        self.written = b""
        self.is_deaf = False
        self.taken = 0  # bytes of what it said
        self._said: asyncio.Queue[bytes] = asyncio.Queue()

    def say(self, *lines: bytes) -> None:
        """Let the agent write this."""
        self._said.put_nowait(b"".join(lines))

    def end(self) -> None:
        """Let the agent be gone."""
        self._said.put_nowait(b"")

    async def read(self) -> bytes:
        """See `ports.Talk`."""
        data = await self._said.get()
        self.taken += len(data)
        return data

    async def write(self, data: bytes) -> None:
        """See `ports.Talk`."""
        if self.is_deaf:
            await asyncio.get_running_loop().create_future()
        self.written += data

    def close_input(self) -> None:
        """See `ports.Talk`."""

    def is_awaited(self) -> bool:
        """See `ports.Talk`."""
        return False

    @property
    def heard(self) -> list[Json]:
        """Return what the agent was told."""
        return messages(self.written)


class Site:
    """One run, and all round it."""

    def __init__(self, **terms: object) -> None:
        self.daemon, self.pipe, self.clock = Daemon(), Pipe(), ManualClock()
        self.shown = ""
        self.waits: list[bool] = []
        self.over: list[talk.Conclude] = []
        self.advice: str | None = None
        asker = Asker(self.daemon, lambda: "token")
        line = Line(ASSIGNMENT, "r1", asker, self.clock)
        self.consent = Consent(line, TaskOptions(), self.clock)
        around = Surroundings(
            assignment=ASSIGNMENT,
            store="data-1",
            line=line,
            consent=self.consent,
            grants=Grants(ASSIGNMENT, line, self.clock, WORKSPACE, HOME),
            clock=self.clock,
            show=self._show,
            conclude=self._conclude,
            wait=self._wait,
            consult=self._consult,
        )
        conversation = Conversation(replace(TERMS, **terms))
        self.run = AgentRun(self.pipe, driver(), conversation, around)

    async def _show(self, data: bytes) -> None:
        self.shown += data.decode()

    async def _conclude(self, conclusion: talk.Conclude) -> None:
        self.over.append(conclusion)
        self.pipe.end()  # its process is ended

    async def _wait(self, asked: bool) -> None:
        self.waits.append(asked)

    async def _consult(self, _question: str) -> str | None:
        return self.advice

    async def concluded(self) -> talk.Conclude:
        """Return how it ended, once it has."""
        await until(lambda: self.over)
        return self.over[0]

    async def hears(self, text: str) -> None:
        """Return once the agent was told something with this in it."""
        await until(lambda: text.encode() in self.pipe.written)


@asynccontextmanager
async def at_work(site: Site, *lines: bytes) -> AsyncIterator[Site]:
    """Yield a run whose agent was prompted, and said this; it ends with the test, at the latest."""
    running = asyncio.create_task(site.run.run(WORKSPACE, ""))
    site.pipe.say(hello(), began())
    await site.hears("session/prompt")
    if lines:
        site.pipe.say(*lines)
    try:
        yield site
        if not site.over:
            site.pipe.end()
        async with asyncio.timeout(10):
            await running
    finally:
        running.cancel()
        await asyncio.wait({running})
