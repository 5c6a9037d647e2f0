"""What a conversation with an agent is told besides what the agent says, and what it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from msgspec import Struct

from events.calls import Allowance, Rules, ToolCall, Verdict
from events.instant import Instant
from events.running import Decided, Outcome, Resume
from events.task import FailureKind, Usage
from pandar_daemon.domain.hearing import Broken, Heard
from pandar_daemon.domain.judging import Judgement
from pandar_daemon.domain.money import Price


class Terms(Struct, frozen=True, kw_only=True):
    """What a conversation is about and within which limits; ``None`` is no limit.

    ``spent`` is what earlier executions of the task consumed. ``proxy_answers`` is how many
    questions another agent, ``proxy``, may answer, 0 when there is none. ``doors`` are the gates
    whose calls must all come to a door of the box, where they are asked about.
    """

    agent: str
    prompt: str
    rules: Rules
    workspace: str
    home: str
    allowances: tuple[Allowance, ...] = ()
    resume: Resume | None = None
    context: str = ""
    spent: Usage = Usage()
    max_cost_usd: float | None = None
    max_tokens: int | None = None
    price: Price | None = None
    park_after_sec: float = 600.0
    proxy: str = ""
    proxy_answers: int = 0
    tells_usage: bool = True
    denies_softly: bool = True
    hears_reasons: bool = False
    doors: frozenset[str] = frozenset()


# --- signals ---------------------------------------------------------------------------------


class Hears(Struct, frozen=True, kw_only=True):
    """The agent said something."""

    at: float
    heard: Heard


class Ended(Struct, frozen=True, kw_only=True):
    """Its process ended, by itself or by somebody's hand, with this as its last word."""

    at: float
    heard: Broken


class Answered(Struct, frozen=True, kw_only=True):
    """Somebody decided what was asked under this number."""

    at: float
    number: int
    confirmation_id: UUID
    decided: Decided


class Granted(Struct, frozen=True, kw_only=True):
    """The call of this number needs nobody's decision: a standing grant was used for it."""

    at: float
    number: int
    grant_id: UUID


class Unasked(Struct, frozen=True, kw_only=True):
    """People could not be asked, and why."""

    at: float
    number: int
    error: str


class ProxyAnswered(Struct, frozen=True, kw_only=True):
    """Another agent answered the question of this number, or could not."""

    at: float
    number: int
    text: str | None


class Unrecorded(Struct, frozen=True, kw_only=True):
    """What was to be done about a request may not be done: its approval is used, or void."""

    at: float
    request_id: str
    call: ToolCall


class Unstorable(Struct, frozen=True, kw_only=True):
    """What the agent did or asked cannot be recorded at all, and why."""

    at: float
    error: str


class Waited(Struct, frozen=True, kw_only=True):
    """Time has passed."""

    at: float


class Unready(Struct, frozen=True, kw_only=True):
    """It was given all the time there is to become ready."""

    at: float


class ParkNow(Struct, frozen=True, kw_only=True):
    """This runner is going down: who waits is to be parked, and who will wait, at once."""

    at: float


Signal = (
    Hears
    | Ended
    | Answered
    | Granted
    | Unasked
    | ProxyAnswered
    | Unrecorded
    | Unstorable
    | Waited
    | Unready
    | ParkNow
)


# --- effects ---------------------------------------------------------------------------------


class Prompt(Struct, frozen=True):
    """Say this to the agent."""

    text: str


class CancelTurn(Struct, frozen=True):
    """End its turn."""


class Settle(Struct, frozen=True, kw_only=True):
    """Record what is done about a call, then answer the agent; or tell `Unrecorded`.

    ``quiet``: do not answer, for the turn is to be cancelled, and that is an answer.
    """

    request_id: str
    call: ToolCall
    verdict: Verdict
    rule: str
    gates: tuple[str, ...] = ()
    confirmation_id: UUID | None = None
    grant_id: UUID | None = None
    text: str = ""
    quiet: bool = False


class Reply(Struct, frozen=True, kw_only=True):
    """Record the answer to a question, then give it to the agent; ``by`` is who answered.

    ``quiet`` as for `Settle`. Without ``request_id`` it is told some other way.
    """

    request_id: str
    question: str
    text: str
    verdict: Verdict = Verdict.ALLOW
    by: str = ""
    quiet: bool = False


class Refuse(Struct, frozen=True, kw_only=True):
    """Nobody will decide about a request made at a door: tell who waits there, and why."""

    request_id: str
    text: str


class Consult(Struct, frozen=True, kw_only=True):
    """Let another agent answer this; tell `ProxyAnswered`."""

    number: int
    question: str


class AskCall(Struct, frozen=True, kw_only=True):
    """Ask people about a call; tell `Answered`, or `Unasked`."""

    number: int
    call: ToolCall
    judged: Judgement
    intent: str = ""


class AskQuestion(Struct, frozen=True, kw_only=True):
    """Ask people for an answer to a question; tell `Answered`, or `Unasked`."""

    number: int
    text: str
    choices: tuple[str, ...] = ()


class AskBudget(Struct, frozen=True, kw_only=True):
    """Ask people whether it may cost more; tell `Answered`, or `Unasked`."""

    number: int
    why: str
    spent: Usage
    limits: Mapping[str, float | int | None]


Ask = AskCall | AskQuestion | AskBudget


class Withdraw(Struct, frozen=True):
    """Nobody needs to decide what was asked last."""

    reason: str


class Name(Struct, frozen=True):
    """The agent's own name for this session."""

    session_id: str


class Show(Struct, frozen=True):
    """Add this to what the task shows."""

    text: str


class Conclude(Struct, frozen=True, kw_only=True):
    """It is over. The last effect."""

    outcome: Outcome
    kind: FailureKind = FailureKind.AGENT
    error: str = ""
    usage: Usage = Usage()
    until: Instant | None = None


Effect = (
    Prompt
    | CancelTurn
    | Settle
    | Reply
    | Refuse
    | Consult
    | AskCall
    | AskQuestion
    | AskBudget
    | Withdraw
    | Name
    | Show
    | Conclude
)
