"""One execution on this machine: does what its session asks, tells it what happened."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import structlog
from msgspec import Struct

from events import subjects
from events.commands import Command
from events.running import Assignment, FinishExecution, Held, LeaseState, ReportProgress
from events.task import Usage
from pandar_daemon.domain import signals
from pandar_daemon.domain.options import TaskOptions, read_options
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.domain.session import Session
from pandar_daemon.domain.signals import AnySignal, Effect
from pandar_daemon.ports import Clock, OutputKey, Outputs, Process, ProcessHost, Spool, Spools
from pandar_daemon.services.asking import Asker
from pandar_daemon.services.pauses import pauses
from pandar_daemon.services.publisher import publish
from pandar_daemon.services.workspace import prepare
from pandar_daemon.telemetry import Metrics

log = structlog.get_logger(__name__)

TICK_SEC = 0.25
_PASSING = frozenset({401, 408, 429})
"""Refusals that say nothing about the execution: ask again, as after any 5xx."""


class Means(Struct, frozen=True, kw_only=True):
    """What executions are made with, the same for all of one runner."""

    runner_id: str
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
        self.held = Held(
            task_id=assignment.task_id,
            execution_id=assignment.execution_id,
            epoch=assignment.epoch,
        )
        self._assignment = assignment
        self._means = means
        self._options = read_options(assignment.metadata)
        self._session = Session(
            task_id=assignment.task_id,
            execution_id=assignment.execution_id,
            epoch=assignment.epoch,
            timeout_sec=_timeout(self._options),
        )
        self._process: Process | None = None
        self._decided = asyncio.Event()  # to start, or that there is nothing to start
        self._start: signals.Start | None = None
        self._last: asyncio.Future[signals.Finish | signals.Discard] = asyncio.Future()
        self._progress: asyncio.Queue[int] = asyncio.Queue()
        self._lost = False
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
            self._lost = True
            await self._receive(signals.LeaseLost(at=at))
            return
        if state is LeaseState.CANCEL:
            await self._receive(signals.CancelRequested(at=at))
        await self._receive(signals.LeaseHeld(at=at, until=until))

    async def abandon(self) -> None:
        """Give it up because this runner is going down: killed, and reported as lost."""
        await self._receive(signals.Abandoned(at=self._means.clock.boottime()))

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
            process, spool = await self._launch(start.until)
        except OSError as error:
            await self._receive(signals.StartFailed(at=clock.boottime(), error=str(error)))
            return
        self._log.info("execution.started", attempt=self._assignment.attempt)
        try:
            await self._receive(signals.Started(at=clock.boottime()))
            await self._attend(process, spool)
        finally:
            await self._kill(at_once=True)  # nothing is left of it but when we broke

    async def _launch(self, until: float) -> tuple[Process, Spool]:
        """Start the process; raises ``OSError``, leaving nothing behind."""
        spool = self._open_spool()
        try:
            spec = prepare(self._means.data, self._assignment, until=until, path=self._means.path)
            self._process = await self._means.host.start(spec)
        except OSError:
            spool.remove()
            raise
        return self._process, spool

    def _open_spool(self) -> Spool:
        key = OutputKey(
            project_id=self._assignment.project_id,
            task_id=self._assignment.task_id,
            attempt=self._assignment.attempt,
        )
        limit = self._options.max_output_bytes
        return self._means.spools.create(key, self._assignment.execution_id, limit_bytes=limit)

    async def _attend(self, process: Process, spool: Spool) -> None:
        """Return when the tree is dead and its output published, or left for our successor."""
        async with asyncio.TaskGroup() as group:
            publishing = group.create_task(publish(spool, self._means.outputs))
            ticking = group.create_task(self._tick())
            await self._read(process, spool)
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

    async def _read(self, process: Process, spool: Spool) -> None:
        kept = True
        async for data in process.output():
            at = self._means.clock.boottime()
            try:
                if kept:
                    spool.append(data)
            except OSError as error:
                kept = False
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
                await self._ask("progress", report, str(self._means.clock.new_id()))
            except Refusal as refusal:
                self._log.info("execution.untold", progress=progress, reason=str(refusal))

    async def _report(self, report: FinishExecution) -> None:
        """Return once the daemon has answered, or the lease turned out to be lost."""
        command_id = str(self._means.clock.new_id())
        for pause in pauses():
            try:
                await self._ask("finish", report, command_id)
            except Refusal as refusal:
                status = refusal.problem.status
                if self._lost or (status < 500 and status not in _PASSING):  # noqa: PLR2004
                    self._means.metrics.executed("lost")
                    self._log.warning("execution.stale", reason=str(refusal))
                    return
                self._log.info("execution.unreported", reason=str(refusal), pause_sec=pause)
                await asyncio.sleep(pause)
            else:
                self._means.metrics.executed(report.outcome)
                self._log.info("execution.finished", outcome=report.outcome)
                return

    async def _ask(self, action: str, command: Command, command_id: str) -> None:
        await self._means.asker.ask(
            subjects.run(action, self._means.runner_id),
            msgspec.json.encode(command),
            command_id,
            traceparent=self._assignment.traceparent,
        )


def _timeout(wanted: TaskOptions) -> float | None:
    limits = [limit for limit in (wanted.timeout_sec, wanted.max_duration) if limit is not None]
    return min(limits, default=None)
