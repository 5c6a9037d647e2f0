"""A run, from its lease to its last report, as a machine without I/O: every rule is in this file.

Signals go in (what happened), effects come out (what to do about it); time comes with the signal,
as seconds of a clock that never jumps. The same machine drives a program under a terminal today
and an agent tomorrow, whose permission request is one more signal::

    LEASED ──LeaseHeld──▶ STARTING ──Started──▶ RUNNING ──Exited──▶ OVER
      │                      │ StartFailed          │ cancel, timeout, lost, abandoned
      │                      ▼                      ▼
      └─cancel, lost──────▶ OVER ◀─────Exited──── ENDING

* Nothing starts before the lease was renewed once: a lease that never began had no effect.
* The first reason to end a run is the one reported. But who has lost the lease reports nothing
  at all, whatever happened before, and who gives up what never started leaves it to expire.
* A run is reported when, and only when, nothing of its process tree is left.
* A conversation that is over ends its process; what came of it is reported.
* Progress is told at most four times a second, and only when it changed.
"""

from __future__ import annotations

from enum import StrEnum, auto
from signal import Signals
from typing import assert_never
from uuid import UUID

from msgspec import structs

from events.commands import TAIL_MAX
from events.running import FinishExecution, Outcome
from events.task import FailureKind, Usage
from pandar_daemon.domain.signals import (
    Abandoned,
    Allow,
    AnySignal,
    CancelRequested,
    Concluded,
    Discard,
    Effect,
    Exited,
    Finish,
    Kill,
    LeaseHeld,
    LeaseLost,
    Output,
    OutputUnkept,
    Overfull,
    Reason,
    Start,
    Started,
    StartFailed,
    Tell,
    Tick,
    Waiting,
)
from pandar_daemon.domain.talking import Conclude
from pandar_daemon.domain.terminal import Terminal

PROGRESS_INTERVAL_SEC = 0.25
_AT_ONCE = frozenset({Reason.LOST, Reason.OVERFULL})
"""Reasons for which not one instruction more may run."""


class Phase(StrEnum):
    """Where a run stands."""

    LEASED = auto()  # ours, but nothing has happened
    STARTING = auto()  # the process is being made
    RUNNING = auto()
    ENDING = auto()  # the process tree is being killed
    OVER = auto()  # nothing is left


class Session:
    """One run. ``timeout_sec`` counts from the start of the process, ``None`` is for ever."""

    def __init__(
        self, *, task_id: int, execution_id: UUID, epoch: int, timeout_sec: float | None = None
    ) -> None:
        self.phase = Phase.LEASED
        self.reason: Reason | None = None
        self._lease = (task_id, execution_id, epoch)
        self._timeout_sec = timeout_sec
        self._until = 0.0
        self._allowed = 0.0  # what the process was told
        self._started_at: float | None = None
        self._terminal = Terminal(TAIL_MAX)
        self._output_bytes = 0
        self._error = ""
        self._waiting_since: float | None = None
        self._waited_sec = 0.0
        self._conclusion: Conclude | None = None
        self._told: int | None = None
        self._told_at = -PROGRESS_INTERVAL_SEC

    def receive(self, signal: AnySignal) -> list[Effect]:  # noqa: C901, PLR0911, PLR0912 - one match is the table
        """Take note of what happened; return what is to be done, in order. Never raises."""
        match signal:
            case _ if self.phase is Phase.OVER:
                return []
            case LeaseHeld():
                return self._hold(signal)
            case LeaseLost():
                return self._end(Reason.LOST, signal.at)
            case CancelRequested():
                return self._end(Reason.CANCELLED, signal.at)
            case Abandoned():
                return self._end(Reason.ABANDONED, signal.at)
            case Concluded():
                self._conclusion = self._conclusion or signal.conclusion
                return self._end(Reason.CONCLUDED, signal.at)
            case OutputUnkept():
                self._error = self._error or signal.error
                return self._end(Reason.UNKEPT, signal.at)
            case Overfull():
                self._error = self._error or signal.error
                return self._end(Reason.OVERFULL, signal.at)
            case Started():
                return self._begin(signal)
            case Waiting():
                return self._pause(signal)
            case StartFailed():
                return self._fail_to_start(signal)
            case Output():
                return self._show(signal)
            case Exited():
                return self._conclude(signal)
            case Tick():
                return self._pass(signal.at)
            case _:
                assert_never(signal)

    def _hold(self, signal: LeaseHeld) -> list[Effect]:
        self._until = max(self._until, signal.until)
        if self.phase is Phase.LEASED:
            self.phase = Phase.STARTING
            self._allowed = self._until
            return [Start(self._until)]
        # While the process is being made there is nobody to tell yet: `_begin` does.
        known = self.phase is not Phase.STARTING and self.reason is not Reason.LOST
        return self._allow() if known else []

    def _allow(self) -> list[Effect]:
        if self._allowed == self._until:
            return []
        self._allowed = self._until
        return [Allow(self._until)]

    def _begin(self, signal: Started) -> list[Effect]:
        self._started_at = signal.at
        if self.reason is None:
            self.phase = Phase.RUNNING
            return self._allow()
        self.phase = Phase.ENDING
        return [self._kill()]

    def _end(self, reason: Reason, at: float) -> list[Effect]:
        """End the run; a lost lease outranks any other reason."""
        if self.reason is Reason.LOST or (self.reason and reason is not Reason.LOST):
            return []
        self.reason = reason
        if self.phase is Phase.LEASED:
            return self._conclude(Exited(at=at, exit_code=None))
        if self.phase is Phase.STARTING:
            return []  # there is nothing to kill yet: `_begin` does
        self.phase = Phase.ENDING
        return [self._kill()]

    def _kill(self) -> Kill:
        reason = self.reason or Reason.ABANDONED
        return Kill(reason, at_once=reason in _AT_ONCE)

    def _fail_to_start(self, signal: StartFailed) -> list[Effect]:
        self._error = signal.error
        return self._conclude(Exited(at=signal.at, exit_code=None))

    def _show(self, signal: Output) -> list[Effect]:
        self._output_bytes += len(signal.data)
        self._terminal.feed(signal.data)
        return self._tell(signal.at)

    def _pass(self, at: float) -> list[Effect]:
        if self.phase is not Phase.RUNNING:
            return []
        if self._timeout_sec is not None and self._worked(at) >= self._timeout_sec:
            return self._end(Reason.TIMEOUT, at)
        return self._tell(at)

    def _pause(self, signal: Waiting) -> list[Effect]:
        if self._waiting_since is not None:
            self._waited_sec += max(0.0, signal.at - self._waiting_since)
        self._waiting_since = signal.at if signal.asked else None
        return []

    def _worked(self, at: float) -> float:
        """Return for how long it ran without people being asked."""
        waiting = 0.0 if self._waiting_since is None else at - self._waiting_since
        return self._duration(at) - self._waited_sec - waiting

    def _tell(self, at: float) -> list[Effect]:
        progress = self._terminal.progress
        due = at >= self._told_at + PROGRESS_INTERVAL_SEC
        if progress is None or progress == self._told or not due:
            return []
        self._told, self._told_at = progress, at
        return [Tell(progress)]

    def _conclude(self, end: Exited) -> list[Effect]:
        self.phase = Phase.OVER
        if self.reason is Reason.LOST:
            return [Discard(Reason.LOST)]
        if self.reason is Reason.ABANDONED and self._started_at is None:
            return [Discard(Reason.ABANDONED)]
        outcome, kind, error = self._verdict(end)
        task_id, execution_id, epoch = self._lease
        report = FinishExecution(
            task_id=task_id,
            execution_id=execution_id,
            epoch=epoch,
            outcome=outcome,
            exit_code=end.exit_code,
            error=error[:2_000],
            kind=kind,
            output_tail=self._terminal.tail(),
            output_bytes=self._output_bytes,
            cut=end.cut,
            duration_sec=self._duration(end.at),
            usage=self._usage(end),
            until=self._conclusion.until
            if outcome is Outcome.PAUSED and self._conclusion
            else None,
        )
        return [Finish(report)]

    def _usage(self, end: Exited) -> Usage:
        """Return what the process took and the agent told."""
        if self._conclusion is None:
            return end.usage
        return structs.replace(
            self._conclusion.usage,
            cpu_sec=end.usage.cpu_sec,
            max_rss_bytes=end.usage.max_rss_bytes,
        )

    def _verdict(self, end: Exited) -> tuple[Outcome, FailureKind, str]:  # noqa: PLR0911 - a table
        """Return how a run that is reported ended, and for people why."""
        kind = FailureKind.EXIT_CODE
        if self.reason is Reason.CANCELLED:
            return Outcome.CANCELLED, kind, ""
        if self.reason is Reason.ABANDONED:
            return Outcome.LOST, kind, "its runner was stopped"
        if self.reason is Reason.TIMEOUT:
            error = f"ran longer than its timeout of {self._timeout_sec:g} s"
            return Outcome.FAILED, FailureKind.TIMEOUT, error
        if self.reason is Reason.UNKEPT:
            return Outcome.FAILED, kind, f"its output could not be kept: {self._error}"
        if self.reason is Reason.OVERFULL:
            return Outcome.FAILED, FailureKind.LIMIT, self._error
        if self.reason is Reason.CONCLUDED and self._conclusion is not None:
            over = self._conclusion
            return over.outcome, over.kind, over.error
        if self._started_at is None:
            return Outcome.FAILED, FailureKind.START, f"could not be started: {self._error}"
        if end.exit_code == 0:
            return Outcome.COMPLETED, kind, ""
        return Outcome.FAILED, kind, _how(end)

    def _duration(self, at: float) -> float:
        return 0.0 if self._started_at is None else max(0.0, at - self._started_at)


def _how(end: Exited) -> str:
    """Return in words how a process ended that nobody asked to end."""
    if end.signal is None:
        return f"the command ended with exit code {end.exit_code}"
    known = end.signal in set(Signals)
    name = Signals(end.signal).name if known else f"signal {end.signal}"
    return f"the command was killed by {name}"
