"""A conversation with an agent, as a machine without I/O, from its first word to its last.

Signals go in (what was heard, what was decided), effects come out. It knows no protocol: drivers
turn bytes into what is heard. `turn` holds the rules of what the agent asks for, `precedents` of
what is done about a call; beside it `session` holds those of the process it runs in::

    OPENING ──Ready──▶ TURN ──asked, and ruled ASK──▶ WAITING ──decided──▶ TURN
       │                 │ the turn ended                 │ parked
       │ Broken          ▼                                ▼
       └───────────────▶ OVER ◀───────────────────────────┘

* What was decided while no process ran is said first, and recorded as heard, so that it is said
  once. An approval of a call is heard when that call is asked for again.
* A turn that ended is no success: the agent must have said that it is done, without an error, and
  told what it consumed, if it tells that at all.
* More spent than allowed ends the turn, and is a question for people. Who does not end a turn
  that was cancelled, is given up, and so is who never becomes ready.
"""

from __future__ import annotations

from enum import StrEnum, auto
from typing import Final, assert_never

from events.commands import Decision
from events.running import Decided, Outcome
from events.task import FailureKind, Usage
from pandar_daemon.domain import conversation_texts as texts
from pandar_daemon.domain import hearing as heard
from pandar_daemon.domain import talking as talk
from pandar_daemon.domain.budget import Budget
from pandar_daemon.domain.turn import BUDGET, Turn

OPEN_SEC: Final = 120.0
"""What an agent may take until it can be prompted."""
CANCEL_SEC: Final = 30.0
"""What an agent may take to end a turn that was cancelled."""


class Phase(StrEnum):
    """Where a conversation stands."""

    OPENING = auto()
    TURN = auto()  # it is the agent's turn
    WAITING = auto()  # people are asked
    OVER = auto()


class Conversation:
    """One conversation. After `talk.Conclude` nothing has any effect."""

    def __init__(self, terms: talk.Terms) -> None:
        self._terms = terms
        self._turn = Turn(terms)
        self._budget = Budget(terms.spent, terms.max_cost_usd, terms.max_tokens, terms.price)
        self._park_after = terms.park_after_sec
        self._beginning: list[talk.Effect] = []  # kept back until more may be spent
        self._is_open = self._is_over = False

    @property
    def phase(self) -> Phase:
        """Where it stands."""
        if self._is_over:
            return Phase.OVER
        if self._turn.asked is not None:
            return Phase.WAITING
        return Phase.TURN if self._is_open else Phase.OPENING

    @property
    def used(self) -> Usage:
        """What the agent told that it consumed."""
        return self._budget.used

    def receive(self, signal: talk.Signal) -> list[talk.Effect]:  # noqa: C901, PLR0911, PLR0912 - a table
        """Take note of what happened; return what is to be done, in order. Never raises."""
        match signal:
            case _ if self._is_over:
                return []
            case talk.Hears():
                return self._hear(signal.heard, signal.at)
            case talk.Ended():
                return self._ended(signal.heard)
            case talk.Answered():
                return self._decided(signal)
            case talk.Granted():
                return self._turn.granted(signal) if self._turn.is_meant(signal.number) else []
            case talk.Unasked():
                return self._unasked(signal)
            case talk.ProxyAnswered():
                return self._turn.proxy_answered(signal)
            case talk.Unrecorded():
                return self._turn.unrecorded(signal)
            case talk.Unstorable():
                return self._fail(FailureKind.AGENT, f"it cannot be recorded: {signal.error}")
            case talk.Waited():
                return self._waited(signal.at)
            case talk.Unready():
                return self._unready()
            case talk.ParkNow():
                self._park_after = 0.0
                return self._park() if self.phase is Phase.WAITING else []
            case _:
                assert_never(signal)

    # --- what the agent says ---

    def _hear(self, said: heard.Heard, at: float) -> list[talk.Effect]:  # noqa: PLR0911 - a table
        match said:
            case heard.Ready():
                return self._begin(said, at)
            case heard.Said():
                return [talk.Show(said.text)] if said.text and not said.thought else []
            case heard.Called():
                return self._note(said)
            case heard.Asked() | heard.Questioned():
                return self._turn.consider(said, at)
            case heard.Withdrawn():
                return self._turn.withdrawn(said.request_id, at)
            case heard.Used():
                return self._spend(said.usage, at)
            case heard.TurnEnded():
                return self._turn_ended(said, at)
            case heard.Broken():
                return self._fail(texts.KINDS[said.fault], said.error)
            case _:
                assert_never(said)

    def _begin(self, ready: heard.Ready, at: float) -> list[talk.Effect]:
        """Say what there is to say, if it may cost that."""
        if self._is_open:
            return []
        self._is_open = True
        resume = self._terms.resume
        if resume is not None and resume.decided is not None and resume.gate == "budget":
            if resume.decided.decision is Decision.DENY:
                return self._fail(FailureKind.BUDGET, self._budget.why or texts.NO_MORE)
            self._budget.extend()
        named = [talk.Name(ready.session_id)] if ready.session_id else []
        shown = [] if resume is None else [talk.Show(texts.quoted(texts.news(resume)))]
        prompt = talk.Prompt(texts.opening(self._terms, loaded=ready.loaded))
        self._beginning = [*named, *texts.heard_of(resume), *shown, prompt]
        if self._exceeded:
            return [*self._turn.ask_budget(self._budget, at), *self._turn.begin(at)]
        return [*self._start(), *self._turn.begin(at)]

    def _start(self) -> list[talk.Effect]:
        begin, self._beginning = self._beginning, []
        return begin

    def _note(self, called: heard.Called) -> list[talk.Effect]:
        if called.status is heard.CallStatus.FAILED:
            self._turn.failed(called)
        line = texts.call_line(called)
        return [talk.Show(line)] if line else []

    def _unready(self) -> list[talk.Effect]:
        if self._is_open:
            return []
        return self._fail(FailureKind.AGENT, f"the agent was not ready within {OPEN_SEC:g} s")

    # --- people ---

    def _decided(self, answered: talk.Answered) -> list[talk.Effect]:
        decided = answered.decided
        if decided.decision is None or not self._turn.is_meant(answered.number):
            return []
        if self._turn.asked != BUDGET:
            return self._turn.decided(answered)
        self._turn.asked = None
        return [*self._decided_on_budget(decided), *self._turn.go_on(answered.at)]

    def _unasked(self, unasked: talk.Unasked) -> list[talk.Effect]:
        if not self._turn.is_meant(unasked.number):
            return []
        return self._fail(FailureKind.AGENT, f"people could not be asked: {unasked.error}")

    def _waited(self, at: float) -> list[talk.Effect]:
        if self.phase is Phase.WAITING:
            return self._park() if at - self._turn.asked_at >= self._park_after else []
        since = self._turn.cancelled_at
        if since is None or at - since < CANCEL_SEC:
            return []
        kind = FailureKind.BUDGET if self._exceeded else FailureKind.AGENT
        return self._fail(kind, f"the agent went on for {CANCEL_SEC:g} s after it was told to stop")

    # --- money ---

    @property
    def _exceeded(self) -> bool:
        return self._budget.is_exceeded

    def _spend(self, usage: Usage, at: float) -> list[talk.Effect]:
        self._budget.note(usage)
        cancelled = self._turn.cancelled_at is not None
        if not self._exceeded or cancelled or self.phase is not Phase.TURN:
            return []
        return self._turn.cancel(at)

    def _decided_on_budget(self, decided: Decided) -> list[talk.Effect]:
        if decided.decision is Decision.DENY:
            return self._fail(FailureKind.BUDGET, self._budget.why)
        told = talk.Reply(
            request_id=BUDGET,
            question=self._budget.why,
            text=texts.answer_of(decided),
            by=texts.who(decided),
        )
        self._budget.extend()
        return [told, *(self._start() or _say(texts.go_on(decided.reason)))]

    # --- the end ---

    def _turn_ended(self, ended: heard.TurnEnded, at: float) -> list[talk.Effect]:
        if ended.usage is not None:
            self._budget.note(ended.usage)
        told, said = self._turn.cancelled_at is not None, self._turn.next
        before = self._turn.end("the agent ended its turn")
        obeyed = told and ended.stop is heard.Stop.CANCELLED
        if said and (obeyed or ended.stop is heard.Stop.DONE):
            return [*before, *_say(said)]
        if obeyed and self._exceeded:
            return [*before, *self._turn.ask_budget(self._budget, at)]
        return [*before, *self._conclude(ended)]

    def _conclude(self, ended: heard.TurnEnded) -> list[talk.Effect]:
        if ended.stop is heard.Stop.FAILED:
            if ended.fault is heard.Fault.QUOTA and ended.retry_at is not None:
                return self._pause(ended)
            return self._fail(texts.KINDS[ended.fault], texts.failure(ended))
        if ended.stop is not heard.Stop.DONE:
            return self._fail(FailureKind.AGENT, texts.failure(ended))
        if ended.usage is None and self._terms.tells_usage:
            return self._fail(FailureKind.AGENT, texts.NO_USAGE)
        return self._over(talk.Conclude(outcome=Outcome.COMPLETED, usage=self._budget.used))

    def _pause(self, ended: heard.TurnEnded) -> list[talk.Effect]:
        return self._over(
            talk.Conclude(
                outcome=Outcome.PAUSED,
                kind=FailureKind.QUOTA,
                error=ended.error,
                usage=self._budget.used,
                until=ended.retry_at,
            )
        )

    def _fail(self, kind: FailureKind, error: str) -> list[talk.Effect]:
        before, used = self._turn.end("the agent is over"), self._budget.used
        failed = talk.Conclude(outcome=Outcome.FAILED, kind=kind, error=error, usage=used)
        return [*before, *self._over(failed)]

    def _ended(self, last: heard.Broken) -> list[talk.Effect]:
        """Who dies while people decide is as good as parked: they may go on deciding."""
        if self.phase is Phase.WAITING:
            return self._park()
        return self._fail(texts.KINDS[last.fault], last.error)

    def _park(self) -> list[talk.Effect]:
        return self._over(talk.Conclude(outcome=Outcome.PARKED, usage=self._budget.used))

    def _over(self, conclusion: talk.Conclude) -> list[talk.Effect]:
        self._is_over = True
        return [conclusion]


def _say(text: str) -> list[talk.Effect]:
    """Say something in the middle of a task, for all to see."""
    return [talk.Show(texts.quoted(text)), talk.Prompt(text)]
