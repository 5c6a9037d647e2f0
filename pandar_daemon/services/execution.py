"""One execution on this machine: does what its session asks, tells it what happened."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import structlog
from msgspec import Struct

from events.commands import REASON_MAX
from events.running import (
    Assignment,
    FinishExecution,
    LeaseState,
    Outcome,
    ReportProgress,
    SwitchAgent,
)
from events.task import FailureKind, Usage
from pandar_daemon.domain import signals
from pandar_daemon.domain.conversation import Conversation
from pandar_daemon.domain.options import TaskOptions, read_options
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.domain.session import Session
from pandar_daemon.domain.signals import AnySignal, Effect
from pandar_daemon.domain.talking import Conclude, Terms
from pandar_daemon.ports import (
    Agents,
    Clock,
    OutputKey,
    Outputs,
    Process,
    ProcessHost,
    Spool,
    Spools,
)
from pandar_daemon.services.agent_run import AgentRun, Surroundings
from pandar_daemon.services.asking import Asker
from pandar_daemon.services.consent import Consent
from pandar_daemon.services.line import Line
from pandar_daemon.services.publisher import publish
from pandar_daemon.services.workspace import Work, prepare
from pandar_daemon.telemetry import Metrics

log = structlog.get_logger(__name__)

TICK_SEC = 0.25
_NOT_THE_AGENT = frozenset({FailureKind.BUDGET, FailureKind.TIMEOUT, FailureKind.DENIED})
"""Failures another agent would not do better at."""


class Means(Struct, frozen=True, kw_only=True):
    """What executions are made with, the same for all of one runner.

    ``store`` names the data directory, for ever.
    """

    runner_id: str
    store: str
    agents: Agents
    data: Path
    host: ProcessHost
    spools: Spools
    outputs: Outputs
    asker: Asker
    clock: Clock
    metrics: Metrics
    path: str


class Execution:
    """One lease, from the claim to the answered report."""

    def __init__(self, assignment: Assignment, means: Means) -> None:
        """Do nothing until `run`, and start nothing until the lease was renewed."""
        self._line = Line(assignment, means.runner_id, means.asker, means.clock)
        self.held = self._line.held
        self._assignment = assignment
        self._means = means
        self._options = read_options(assignment.metadata)
        self._session = Session(
            task_id=assignment.task_id,
            execution_id=assignment.execution_id,
            epoch=assignment.epoch,
            timeout_sec=_timeout(self._options),
        )
        self._consent = Consent(self._line, self._options, means.clock)
        self._process: Process | None = None
        self._spool: Spool | None = None
        self._agent: AgentRun | None = None
        self._decided = asyncio.Event()  # to start, or that there is nothing to start
        self._start: signals.Start | None = None
        self._last: asyncio.Future[signals.Finish | signals.Discard] = asyncio.Future()
        self._progress: asyncio.Queue[int] = asyncio.Queue()
        self._log = log.bind(task=assignment.task_id, execution=str(assignment.execution_id))

    async def run(self) -> None:
        """Return when nothing of it is left here and its report was answered, or is not due."""
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(self._tell())
            await self._decided.wait()
            if self._start is not None:
                await self._run_process(self._start)
            telling.cancel()
        last = await self._last
        if isinstance(last, signals.Finish):
            await self._report(last.report)
        else:
            self._log.warning("execution.discarded", reason=last.reason)

    async def lease(self, state: LeaseState, until: float) -> None:
        """Take note of a renewal's answer; it may run until ``until`` if the lease is held."""
        at = self._means.clock.boottime()
        if state is LeaseState.LOST:
            self._line.is_lost = True
            await self._receive(signals.LeaseLost(at=at))
            return
        if state is LeaseState.CANCEL:
            await self._receive(signals.CancelRequested(at=at))
        await self._receive(signals.LeaseHeld(at=at, until=until))

    async def abandon(self) -> None:
        """Give it up because this runner is going down: parked if it waits, else lost."""
        if self._agent is not None and self._agent.park():
            return
        await self._receive(signals.Abandoned(at=self._means.clock.boottime()))

    def hint(self) -> None:
        """Something may have been decided about it."""
        self._consent.hint()

    async def _receive(self, signal: AnySignal) -> None:
        for effect in self._session.receive(signal):
            await self._perform(effect)

    async def _perform(self, effect: Effect) -> None:
        match effect:
            case signals.Start():
                self._start = effect
                self._decided.set()
            case signals.Allow(until):
                await self._allow(until)
            case signals.Kill(reason, at_once):
                self._log.info("execution.killed", reason=reason)
                if self._agent is not None and reason in _POLITELY:
                    await self._agent.farewell()
                await self._kill(at_once=at_once)
            case signals.Tell(progress):
                self._progress.put_nowait(progress)
            case signals.Finish() | signals.Discard():
                self._last.set_result(effect)
                self._decided.set()

    async def _allow(self, until: float) -> None:
        if self._process is not None:
            await self._process.allow_until(until)

    async def _kill(self, *, at_once: bool) -> None:
        if self._process is None:
            return
        if at_once:
            await self._process.allow_until(0.0)  # what may not run is killed without grace
        await self._process.kill()

    async def _run_process(self, start: signals.Start) -> None:
        clock = self._means.clock
        try:
            work, process, spool = await self._launch(start.until)
        except OSError as error:
            await self._receive(signals.StartFailed(at=clock.boottime(), error=str(error)))
            return
        self._log.info("execution.started", attempt=self._assignment.attempt)
        try:
            await self._receive(signals.Started(at=clock.boottime()))
            await self._attend(work, process, spool)
        finally:
            await self._kill(at_once=True)  # nothing is left of it but when we broke

    async def _launch(self, until: float) -> tuple[Work, Process, Spool]:
        """Start the process; raises ``OSError``, leaving nothing behind."""
        spool = self._open_spool()
        means = self._means
        try:
            work = prepare(means.data, self._assignment, means.agents, until=until, path=means.path)
            self._process = await means.host.start(work.spec)
        except OSError:
            spool.remove()
            raise
        self._spool = spool
        if work.launch is not None:
            self._agent = self._converse(work, self._process)
        return work, self._process, spool

    def _open_spool(self) -> Spool:
        key = OutputKey(
            project_id=self._assignment.project_id,
            task_id=self._assignment.task_id,
            attempt=self._assignment.attempt,
        )
        limit = self._options.max_output_bytes
        return self._means.spools.create(key, self._assignment.execution_id, limit_bytes=limit)

    def _converse(self, work: Work, process: Process) -> AgentRun:
        driver = self._means.agents.driver(self._assignment.agent or "")
        conversation = Conversation(terms_of(self._assignment, self._options, work))
        around = Surroundings(
            assignment=self._assignment,
            store=self._means.store,
            line=self._line,
            consent=self._consent,
            clock=self._means.clock,
            show=self._show,
            conclude=self._conclude,
            wait=self._wait,
            consult=self._consult,
        )
        return AgentRun(process.talk, driver, conversation, around)

    async def _conclude(self, conclusion: Conclude) -> None:
        at = self._means.clock.boottime()
        await self._receive(signals.Concluded(at=at, conclusion=conclusion))

    async def _wait(self, asked: bool) -> None:  # noqa: FBT001 - a switch
        await self._receive(signals.Waiting(at=self._means.clock.boottime(), asked=asked))

    async def _consult(self, _question: str) -> str | None:
        return None

    async def _attend(self, work: Work, process: Process, spool: Spool) -> None:
        """Return when the tree is dead and its output published, or left for our successor."""
        async with asyncio.TaskGroup() as group:
            publishing = group.create_task(publish(spool, self._means.outputs))
            ticking = group.create_task(self._tick())
            if self._agent is not None:
                resume = self._assignment.resume
                session_id = resume.session_id if resume else ""
                group.create_task(self._read(process))
                await self._agent.run(work.spec.cwd, session_id)
            else:
                await self._read(process)
            end = await process.wait()
            ticking.cancel()
            await self._receive(
                signals.Exited(
                    at=self._means.clock.boottime(),
                    exit_code=end.exit_code,
                    signal=end.signal,
                    usage=Usage(cpu_sec=end.cpu_sec, max_rss_bytes=end.max_rss_bytes),
                    cut=spool.seal(),
                )
            )
            if self._session.reason is signals.Reason.ABANDONED:
                publishing.cancel()

    async def _read(self, process: Process) -> None:
        async for data in process.output():
            await self._show(data)

    async def _show(self, data: bytes) -> None:
        """Keep what it shows, as long as it can be kept."""
        at = self._means.clock.boottime()
        try:
            if self._spool is not None:
                self._spool.append(data)
        except OSError as error:
            self._spool = None
            await self._receive(signals.OutputUnkept(at=at, error=str(error)))
        await self._receive(signals.Output(at=at, data=data))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SEC)
            await self._receive(signals.Tick(at=self._means.clock.boottime()))

    async def _tell(self) -> None:
        """Report progress, the latest only; one that is lost is made up for by the next."""
        while True:
            progress = await self._progress.get()
            while not self._progress.empty():
                progress = self._progress.get_nowait()
            report = ReportProgress(
                task_id=self.held.task_id,
                execution_id=self.held.execution_id,
                epoch=self.held.epoch,
                progress=progress,
            )
            try:
                await self._line.send("progress", report)
            except Refusal as refusal:
                self._log.info("execution.untold", progress=progress, reason=str(refusal))

    async def _report(self, report: FinishExecution) -> None:
        """Return once the daemon has answered, or the lease turned out to be lost."""
        try:
            await self._switch(report)
            await self._line.insist("finish", report)
        except Refusal as refusal:
            self._means.metrics.executed("lost")
            self._log.warning("execution.stale", reason=str(refusal))
            return
        self._means.metrics.executed(report.outcome)
        self._log.info("execution.finished", outcome=report.outcome)

    async def _switch(self, report: FinishExecution) -> None:
        """Let the proxy agent take over from one that failed; raises the `Refusal`."""
        proxy, failed = self._options.proxy_agent, report.outcome is Outcome.FAILED
        mine = self._assignment.agent
        if not (self._assignment.prompt and failed and proxy) or proxy == mine:
            return
        if report.kind in _NOT_THE_AGENT:
            return
        switch = SwitchAgent(
            task_id=self.held.task_id,
            execution_id=self.held.execution_id,
            epoch=self.held.epoch,
            to_agent=proxy,
            reason=report.error[:REASON_MAX],
        )
        await self._line.insist("switch", switch)


_POLITELY = frozenset({signals.Reason.CANCELLED, signals.Reason.TIMEOUT, signals.Reason.ABANDONED})
"""Reasons to end a run that leave an agent the time to hear of it."""


def terms_of(assignment: Assignment, wanted: TaskOptions, work: Work) -> Terms:
    """Return what a conversation is about, as task, agent and folder say."""
    assert work.launch is not None  # noqa: S101 - it is an agent's
    context = wanted.context
    return Terms(
        agent=assignment.agent or "",
        prompt=assignment.prompt,
        rules=assignment.rules,
        workspace=work.spec.cwd,
        home=work.home,
        allowances=tuple(assignment.allowances),
        resume=assignment.resume,
        context=context if isinstance(context, str) else msgspec.json.encode(context).decode(),
        spent=assignment.spent,
        max_cost_usd=wanted.max_cost_usd,
        max_tokens=wanted.max_tokens,
        park_after_sec=wanted.park_after_sec,
        proxy_answers=wanted.max_proxy_answers if wanted.proxy_agent else 0,
        tells_usage=work.launch.tells_usage,
        denies_softly=work.launch.denies_softly,
    )


def _timeout(wanted: TaskOptions) -> float | None:
    limits = [limit for limit in (wanted.timeout_sec, wanted.max_duration) if limit is not None]
    return min(limits, default=None)
