"""What a session hears (signals) and what it asks for (effects); `session` holds the rules."""

from __future__ import annotations

from enum import StrEnum, auto

from msgspec import Struct

from events.running import FinishExecution
from events.task import Cut, Usage
from pandar_daemon.domain.talking import Conclude


class Reason(StrEnum):
    """Why we end a run that did not end by itself."""

    CANCELLED = auto()
    TIMEOUT = auto()
    UNKEPT = auto()  # its output could not be kept
    LOST = auto()  # the lease belongs to nobody or to another
    ABANDONED = auto()  # this runner is going down
    CONCLUDED = auto()  # the conversation with the agent is over
    OVERFULL = auto()  # it takes more of the disk than it may, or than there is


# --- signals: what happened, and when --------------------------------------------------------


class Signal(Struct, frozen=True, kw_only=True):
    """Base of all signals; ``at`` is in seconds of the boot-time clock."""

    at: float


class LeaseHeld(Signal, frozen=True, kw_only=True):
    """The lease was renewed: the run may go on until ``until``."""

    until: float


class LeaseLost(Signal, frozen=True, kw_only=True):
    """The daemon says that the lease is not ours."""


class CancelRequested(Signal, frozen=True, kw_only=True):
    """The lease is ours, but the task is to be cancelled."""


class Abandoned(Signal, frozen=True, kw_only=True):
    """This runner is going down."""


class Concluded(Signal, frozen=True, kw_only=True):
    """The conversation with the agent is over, and this came of it."""

    conclusion: Conclude


class Started(Signal, frozen=True, kw_only=True):
    """The process runs."""


class Waiting(Signal, frozen=True, kw_only=True):
    """People are being asked, or no longer: that time does not count towards the timeout."""

    asked: bool


class StartFailed(Signal, frozen=True, kw_only=True):
    """There is no process, and why."""

    error: str


class Output(Signal, frozen=True, kw_only=True):
    """The program wrote to its terminal."""

    data: bytes


class OutputUnkept(Signal, frozen=True, kw_only=True):
    """The output can be stored no longer, and why."""

    error: str


class Overfull(Signal, frozen=True, kw_only=True):
    """The run takes more of the disk than it may, or than there is; ``error`` says which."""

    error: str


class Exited(Signal, frozen=True, kw_only=True):
    """Nothing of the process tree is left, and all its output was seen.

    ``exit_code`` is ``None`` when it was killed; ``cut`` is the part of the output not kept.
    """

    exit_code: int | None
    signal: int | None = None
    usage: Usage = Usage()
    cut: Cut | None = None


class Tick(Signal, frozen=True, kw_only=True):
    """Time has passed; expected a few times a second."""


AnySignal = (
    LeaseHeld
    | LeaseLost
    | CancelRequested
    | Abandoned
    | Concluded
    | Started
    | Waiting
    | StartFailed
    | Output
    | OutputUnkept
    | Overfull
    | Exited
    | Tick
)


# --- effects: what to do about it ------------------------------------------------------------


class Start(Struct, frozen=True):
    """Start the process; it may run until ``until``. Answer with `Started` or `StartFailed`."""

    until: float


class Allow(Struct, frozen=True):
    """Let the process tree run until then, frozen afterwards: later than it was told before."""

    until: float


class Kill(Struct, frozen=True):
    """Kill the process tree: with ``at_once`` it may not run one instruction more."""

    reason: Reason
    at_once: bool = False


class Tell(Struct, frozen=True):
    """Report how far the run is, in percent. May be lost."""

    progress: int


class Finish(Struct, frozen=True):
    """Report this, once all output is safe, until it is answered. The last effect of a run."""

    report: FinishExecution


class Discard(Struct, frozen=True):
    """Report nothing. The last effect of a run."""

    reason: Reason


Effect = Start | Allow | Kill | Tell | Finish | Discard
