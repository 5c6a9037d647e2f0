"""The process of an execution, and all that is there for it: its output, its questions.

A command shows what it does on a terminal, and is watched for questions there. An agent talks
through pipes, and has a conversation. The session is told of both in the same words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Final

import structlog
from msgspec import structs

from events.running import Assignment
from events.task import Usage
from pandar_daemon.domain import signals
from pandar_daemon.domain.options import TaskOptions
from pandar_daemon.domain.redaction import Redactor
from pandar_daemon.domain.signals import AnySignal
from pandar_daemon.domain.talking import Conclude
from pandar_daemon.ports import Exit, OutputKey, Process, Spool
from pandar_daemon.services.agent_run import AgentRun
from pandar_daemon.services.beside import beside
from pandar_daemon.services.companions import Companions
from pandar_daemon.services.consent import Consent
from pandar_daemon.services.doorkeeping import Keeping, kept
from pandar_daemon.services.line import Line
from pandar_daemon.services.making import Tree
from pandar_daemon.services.means import Means
from pandar_daemon.services.own_rules import own_rules
from pandar_daemon.services.proxy import Proxy
from pandar_daemon.services.publisher import publish
from pandar_daemon.services.questions import LOOK_SEC, Questions
from pandar_daemon.services.secrets import Secrets
from pandar_daemon.services.showing import Showing
from pandar_daemon.services.workplace import Workplace
from pandar_daemon.services.workspace import Work, begun_afresh, prepare, workspace_of

log = structlog.get_logger(__name__)

TICK_SEC: Final = 0.25
END_SEC: Final = 3.0
"""What an agent may take to take note and end; a cancellation takes 5 s at most."""
HURRY_SEC: Final = 3.0
"""What keeping the files may take when the runner is going down."""
Tell = Callable[[AnySignal], Awaitable[None]]


class Stage:
    """One execution's; `begin`, then `attend`."""

    def __init__(
        self,
        assignment: Assignment,
        options: TaskOptions,
        means: Means,
        line: Line,
        tell: Tell,
        redactor: Redactor,
    ) -> None:
        """Tell the session what happens by ``tell``; ``redactor`` knows the secrets there are."""
        self._assignment = assignment
        self._options = options
        self._means = means
        self._line = line
        self._tell = tell
        self._output = Showing(redactor, self._show, self._now)
        self._words = Showing(redactor, self._show, self._now)
        self._place = Workplace(assignment, means, line, self._output.feed, redactor)
        self._consent = Consent(line, options, means.clock, self._place.keep)
        self._redactor = redactor
        self._work: Work | None = None
        self._tree: Tree | None = None
        self._process: Process | None = None
        self._spool: Spool | None = None
        self._agent: AgentRun | None = None
        self._questions: Questions | None = None
        self._farewell: asyncio.Task[None] | None = None
        self._shown = False
        self._proxy: Proxy | None = None

    async def begin(self, until: float) -> None:
        """Make its folder ready and start the process; raises ``OSError``, leaving no process."""
        means = self._means
        self._spool = spool = self._open_spool()
        lines = begun_afresh(self._assignment, means.data)
        try:
            if self._assignment.secrets != 0:
                await Secrets(self._line, means.vault).learn()
            self._tree = tree = await self._place.ready()
            rules = own_rules(self._assignment, workspace_of(means.data, self._assignment.task_id))
            self._assignment = rules.assignment
            await rules.tell(self._line)
            companions = self._companions()
            self._proxy = companions.proxy()
            if self._proxy is not None:
                self._proxy.work_in(tree, until=until)
            work = prepare(means, self._assignment, tree, until=until)
            self._process = await means.host.start(work.spec)
        except OSError:
            await self._let_go(spool)
            raise
        self._work = work
        for line in (*lines, *rules.lines):
            await self._output.feed(f"{line}\n".encode())
        if work.launch is None:
            self._questions = companions.questions(self._process)
        else:
            self._agent = companions.agent(work, self._process, self._words.feed, self._conclude)

    def give_up(self) -> None:
        """Make no more ready what is not to be started any more."""
        self._place.give_up()

    async def _let_go(self, spool: Spool) -> None:
        """Keep what a setup showed before it failed."""
        await self._output.close()
        self._spool = None
        if not self._shown:
            spool.remove()
            return
        spool.seal()
        await publish(spool, self._means.outputs)

    async def attend(self, publishes: Callable[[], bool]) -> None:
        """Return when the tree is dead and its output published, or left for our successor.

        ``publishes`` tells, once the tree is dead, whether to wait for the output to be published.
        """
        process, spool = self._process, self._spool
        assert process is not None  # noqa: S101 - it was begun
        assert spool is not None  # noqa: S101 - it was begun
        async with asyncio.TaskGroup() as group:
            publishing = group.create_task(publish(spool, self._means.outputs))
            with beside(group, TICK_SEC, self._tick):
                async with self._doors_kept(process):
                    await self._listen(group, process)
                    end = await process.wait()
            await self._output.close()
            await self._words.close()
            await self._place.keep(*(() if publishes() else (HURRY_SEC,)))
            await self._tell(
                signals.Exited(
                    at=self._now(),
                    exit_code=end.exit_code,
                    signal=end.signal,
                    usage=self._consumed(end),
                    cut=spool.seal(),
                )
            )
            if not publishes():
                publishing.cancel()

    def _doors_kept(self, process: Process) -> AbstractAsyncContextManager[None]:
        assert self._work is not None  # noqa: S101 - it was begun
        assert self._tree is not None  # noqa: S101 - it was begun
        keeping = Keeping(
            assignment=self._assignment,
            work=self._work,
            tree=self._tree,
            line=self._line,
            redactor=self._redactor,
            consent=self._consent,
            wait=self._wait,
            callers=None if self._agent is None else self._agent.callers,
        )
        return kept(self._means, keeping, process)

    def _consumed(self, end: Exit) -> Usage:
        """Return what the process took and what the agent told, however it ended."""
        told = Usage() if self._agent is None else self._agent.used
        return structs.replace(told, cpu_sec=end.cpu_sec, max_rss_bytes=end.max_rss_bytes)

    async def _listen(self, group: asyncio.TaskGroup, process: Process) -> None:
        """Return when it has said its last."""
        if self._agent is None:
            watching = [self._questions.run] if self._questions else []
            with beside(group, LOOK_SEC, *watching):
                await self._read(process)
            return
        resume, work = self._assignment.resume, self._work
        assert work is not None  # noqa: S101 - it was begun
        group.create_task(self._read(process))
        await self._agent.run(work.spec.cwd, resume.session_id if resume else "")

    # --- what the session asks for ---

    async def allow(self, until: float) -> None:
        """Let it run until then, and what helps it."""
        if self._process is not None:
            await self._process.allow_until(until)
        if self._proxy is not None:
            await self._proxy.allow_until(until)

    async def kill(self, *, at_once: bool) -> None:
        """Kill the tree; ``at_once``: it may not run one instruction more."""
        if self._process is None:
            return
        if at_once:
            await self._process.allow_until(0.0)  # what may not run is killed without grace
        await self._process.kill()

    async def end(self, *, politely: bool, at_once: bool) -> None:
        """Kill the tree, if ``politely`` after an agent could take note; does not wait for that.

        Whoever tells us of a cancellation has leases to renew.
        """
        if politely and self._agent is not None:
            self._farewell = asyncio.create_task(self._end_politely(self._agent))
        else:
            await self.kill(at_once=at_once)

    async def _end_politely(self, agent: AgentRun) -> None:
        """Kill it as nobody is killed who took note; at once when that takes too long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(END_SEC):
                await agent.farewell()
                await self.kill(at_once=False)
                if self._process is not None:
                    await self._process.wait()
                return
        await self.kill(at_once=True)

    async def close(self) -> None:
        """Return when nothing of it is left; when all went well nothing was."""
        await self.kill(at_once=True)
        if self._farewell is not None:
            await self._farewell

    def park(self) -> bool:
        """Let an agent that waits for people be parked; false when none does."""
        return self._agent is not None and self._agent.park()

    def hint(self) -> None:
        """Something may have been decided."""
        self._consent.hint()

    # --- what it is made of ---

    def _open_spool(self) -> Spool:
        key = OutputKey(
            project_id=self._assignment.project_id,
            task_id=self._assignment.task_id,
            attempt=self._assignment.attempt,
        )
        limit = self._options.max_output_bytes
        return self._means.spools.create(key, self._assignment.execution_id, limit_bytes=limit)

    def _companions(self) -> Companions:
        return Companions(
            assignment=self._assignment,
            options=self._options,
            means=self._means,
            line=self._line,
            consent=self._consent,
            wait=self._wait,
            consult=self._consult,
        )

    # --- what happens ---

    def _now(self) -> float:
        return self._means.clock.boottime()

    async def _read(self, process: Process) -> None:
        async for data in process.output():
            await self._output.feed(data)

    async def _show(self, data: bytes) -> None:
        """Keep what it shows, its secrets taken out, as long as it can be kept."""
        at = self._now()
        self._shown = True
        try:
            if self._spool is not None:
                self._spool.append(data)
        except OSError as error:
            self._spool = None
            await self._tell(signals.OutputUnkept(at=at, error=str(error)))
        await self._tell(signals.Output(at=at, data=data))
        if self._questions is not None:
            self._questions.feed(data, at)

    async def _tick(self) -> None:
        while True:
            await self._output.tick()
            await self._words.tick()
            await self._tell(signals.Tick(at=self._now()))
            await asyncio.sleep(TICK_SEC)

    async def _conclude(self, conclusion: Conclude) -> None:
        await self._tell(signals.Concluded(at=self._now(), conclusion=conclusion))

    async def _wait(self, asked: bool) -> None:  # noqa: FBT001 - a switch
        await self._tell(signals.Waiting(at=self._now(), asked=asked))

    async def _consult(self, question: str) -> str | None:
        return None if self._proxy is None else await self._proxy.answer(question)
