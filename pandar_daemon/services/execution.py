"""One execution on this machine: does what its session asks, tells it what happened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from events.commands import REASON_MAX
from events.running import (
    Assignment,
    FinishExecution,
    LeaseState,
    Outcome,
    ReportProgress,
    SwitchAgent,
)
from events.task import FailureKind
from pandar_daemon.domain import signals
from pandar_daemon.domain.options import TaskOptions, read_options
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.domain.session import Session
from pandar_daemon.domain.signals import AnySignal, Effect
from pandar_daemon.services.line import Line
from pandar_daemon.services.means import Means
from pandar_daemon.services.stage import Stage

log = structlog.get_logger(__name__)

_NOT_THE_AGENT = frozenset(
    {FailureKind.BUDGET, FailureKind.TIMEOUT, FailureKind.DENIED, FailureKind.LIMIT}
)
"""Failures another agent would not do better at."""


class Execution:
    """One lease, from the claim to the answered report."""

    def __init__(self, assignment: Assignment, means: Means) -> None:
        """Do nothing until `run`, and start nothing until the lease was renewed."""
        redactor = means.redactor.copy()
        self._line = Line(assignment, means.runner_id, means.asker, means.clock, redactor)
        self.held = self._line.held
        self._assignment = assignment
        self._means = means
        self._options = read_options(assignment.metadata)
        self.is_over = False
        """Nothing of it runs any more: it only waits for its report to be answered."""
        self._session = Session(
            task_id=assignment.task_id,
            execution_id=assignment.execution_id,
            epoch=assignment.epoch,
            timeout_sec=_timeout(self._options),
        )
        self._stage = Stage(assignment, self._options, means, self._line, self._receive, redactor)
        self._decided = asyncio.Event()  # to start, or that there is nothing to start
        self._start: signals.Start | None = None
        self._last: asyncio.Future[signals.Finish | signals.Discard] = asyncio.Future()
        self._progress: asyncio.Queue[int] = asyncio.Queue()
        self._telling: asyncio.Task[None] | None = None
        self._group = asyncio.TaskGroup()
        self._log = log.bind(task=assignment.task_id, execution=str(assignment.execution_id))

    async def run(self, over: Callable[[], None]) -> None:
        """Return when nothing of it is left here and its report was answered, or is not due.

        ``over`` is called once, before that: when nothing is left but the report.
        """
        try:
            await self._run()
            self.is_over = True
            over()
            await self._conclude()
        finally:
            self.hang_up()

    def hang_up(self) -> None:
        """Insist on nothing any more: nobody is to be told for ever what no one wants to hear."""
        self._line.is_lost = True

    async def _run(self) -> None:
        async with self._group:
            await self._decided.wait()
            if self._start is not None:
                await self._run_process(self._start)
            if self._telling is not None:
                self._telling.cancel()

    async def _conclude(self) -> None:
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
        if not self._stage.park():
            await self._receive(signals.Abandoned(at=self._means.clock.boottime()))

    @property
    def task_id(self) -> int:
        """The task it is an attempt at."""
        return self._assignment.task_id

    @property
    def disk_bytes(self) -> int:
        """What its workspace and home may take together."""
        return self._assignment.confines.limits.disk_mb * 2**20

    async def overfill(self, error: str) -> None:
        """End it, because it takes too much of the disk."""
        at = self._means.clock.boottime()
        await self._receive(signals.Overfull(at=at, error=error))

    def drain(self) -> None:
        """Be parked as soon as it waits for people."""
        self._stage.park()

    def hint(self) -> None:
        """Something may have been decided about it."""
        self._stage.hint()

    async def _receive(self, signal: AnySignal) -> None:
        for effect in self._session.receive(signal):
            await self._perform(effect)
        if self._session.reason is not None:
            self._stage.give_up()

    async def _perform(self, effect: Effect) -> None:
        match effect:
            case signals.Start():
                self._start = effect
                self._decided.set()
            case signals.Allow(until):
                await self._stage.allow(until)
            case signals.Kill(reason, at_once):
                self._log.info("execution.killed", reason=reason)
                await self._stage.end(politely=reason in _POLITELY, at_once=at_once)
            case signals.Tell(progress):
                self._progress.put_nowait(progress)
                self._telling = self._telling or self._group.create_task(self._tell())
            case signals.Finish() | signals.Discard():
                self._last.set_result(effect)
                self._decided.set()

    async def _run_process(self, start: signals.Start) -> None:
        clock = self._means.clock
        try:
            await self._stage.begin(start.until)
        except OSError as error:
            await self._receive(signals.StartFailed(at=clock.boottime(), error=str(error)))
            return
        self._log.info("execution.started", attempt=self._assignment.attempt)
        try:
            await self._receive(signals.Started(at=clock.boottime()))
            await self._stage.attend(lambda: self._session.reason is not signals.Reason.ABANDONED)
        finally:
            await self._stage.close()

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
        self._log.info("execution.finished", outcome=report.outcome.value, error=report.error[:200])

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


def _timeout(wanted: TaskOptions) -> float | None:
    limits = [limit for limit in (wanted.timeout_sec, wanted.max_duration) if limit is not None]
    return min(limits, default=None)
