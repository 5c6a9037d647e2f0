"""A conversation with an agent, as a machine without I/O: every rule of it is in this file.

Signals go in (what was heard, what was decided), effects come out. It knows no protocol: drivers
turn bytes into what is heard. Beside it `session` holds the rules of the process it runs in::

    OPENING ──Ready──▶ TURN ──asked, and judged ASK──▶ WAITING ──decided──▶ TURN
       │                 │ the turn ended                 │ parked
       │ Broken          ▼                                ▼
       └───────────────▶ OVER ◀───────────────────────────┘

* A request is judged by the rules. What is allowed or refused is recorded before the agent hears
  of it; what is to be asked waits, one at a time, for as long as it takes.
* An approval is for one call: the one whose hash it names, also in another process, later.
* A turn that ended is no success: the agent must have said that it is done, without an error, and
  told what it consumed, if it tells that at all.
* The same call refused or failing `TRIES` times, or more spent than allowed, is a question of
  budget for people, not for the agent to burn money on.
"""

from __future__ import annotations

from enum import StrEnum, auto
from typing import assert_never

from events.calls import Allowance, Scope, Severity, ToolCall, Verdict
from events.commands import Decision
from events.running import Decided, Outcome, Resume
from events.task import FailureKind, Usage
from pandar_daemon.domain import conversation_texts as texts
from pandar_daemon.domain import hearing as heard
from pandar_daemon.domain import talking as talk
from pandar_daemon.domain.budget import Budget
from pandar_daemon.domain.judging import Judgement, judge

TRIES = 3
"""How often the same call may be refused, or fail, before people are asked."""


class Phase(StrEnum):
    """Where a conversation stands."""

    OPENING = auto()
    TURN = auto()  # it is the agent's turn
    WAITING = auto()  # people are asked
    OVER = auto()


class Conversation:
    """One conversation. After `talk.Conclude` nothing has any effect."""

    def __init__(self, terms: talk.Terms) -> None:
        self.phase = Phase.OPENING
        self._terms = terms
        self._allowances = list(terms.allowances)
        self._budget = Budget(terms.spent, terms.max_cost_usd, terms.max_tokens)
        self._approved = _approval(terms)
        self._requests: dict[str, heard.Asked | heard.Questioned] = {}  # open, oldest first
        self._judged: dict[str, Judgement] = {}
        self._asked: str | None = None  # which of them people are asked about; "" for the budget
        self._since = 0.0
        self._denials: dict[str, int] = {}
        self._proxied = 0
        self._consulting = False
        self._next = ""  # what to say once the turn is over
        self._cancelled = False

    @property
    def can_park(self) -> bool:
        """Whether the process may end here, and another one go on after a decision."""
        return self.phase is Phase.WAITING

    def receive(self, signal: talk.Signal) -> list[talk.Effect]:  # noqa: PLR0911 - a table
        """Take note of what happened; return what is to be done, in order. Never raises."""
        if self.phase is Phase.OVER:
            return []
        match signal:
            case talk.Hears():
                return self._hear(signal.heard, signal.at)
            case talk.Answered():
                return self._decided(signal)
            case talk.ProxyAnswered():
                return self._proxy_answered(signal)
            case talk.Unrecorded():
                return self._ask_again(signal)
            case talk.Waited():
                late = signal.at - self._since >= self._terms.park_after_sec
                return self._park() if self.can_park and late else []
            case talk.ParkNow():
                return self._park() if self.can_park else []
            case _:
                assert_never(signal)

    # --- what the agent says ---

    def _hear(self, said: heard.Heard, at: float) -> list[talk.Effect]:  # noqa: PLR0911 - a table
        match said:
            case heard.Ready():
                return self._begin(said)
            case heard.Said():
                return [talk.Show(said.text)] if said.text and not said.thought else []
            case heard.Called():
                return self._note(said)
            case heard.Asked():
                self._requests[said.request_id] = said
                return self._judge(said, at)
            case heard.Questioned():
                self._requests[said.request_id] = said
                return self._ask_next(at)
            case heard.Withdrawn():
                return self._forget(said.request_id, at)
            case heard.Used():
                return self._spend(said.usage)
            case heard.TurnEnded():
                return self._turn_ended(said, at)
            case heard.Broken():
                return self._fail(texts.KINDS[said.fault], said.error)
            case _:
                assert_never(said)

    def _begin(self, ready: heard.Ready) -> list[talk.Effect]:
        if self.phase is not Phase.OPENING:
            return []
        self.phase = Phase.TURN
        named = [talk.Name(ready.session_id)] if ready.session_id else []
        return [*named, talk.Prompt(texts.opening(self._terms, loaded=ready.loaded))]

    def _note(self, called: heard.Called) -> list[talk.Effect]:
        if called.status is heard.CallStatus.FAILED:
            self._count(called.call)
        line = texts.call_line(called)
        return [talk.Show(line)] if line else []

    def _count(self, call: ToolCall) -> None:
        self._denials[call.sha256] = self._denials.get(call.sha256, 0) + 1

    # --- requests ---

    def _judge(self, asked: heard.Asked, at: float) -> list[talk.Effect]:
        call, approved = asked.call, self._approved
        if approved is not None and approved.call_sha256 == call.sha256:
            self._approved = None
            rule = f"confirmation.{approved.confirmation_id}"
            settle = talk.Settle(
                request_id=asked.request_id,
                call=call,
                verdict=Verdict.ALLOW,
                rule=rule,
                gates=(approved.gate,),
                confirmation_id=approved.confirmation_id,
            )
            return self._settled(settle, at)
        judged = self._judgement(call)
        if judged.verdict is Verdict.ASK:
            self._judged[asked.request_id] = judged
            return self._ask_next(at)
        grant = judged.allowance.grant_id if judged.allowance else ""
        settle = talk.Settle(
            request_id=asked.request_id,
            call=call,
            verdict=judged.verdict,
            rule=judged.rule,
            gates=tuple(judged.gates),
            grant_id=texts.uuid_of(grant),
            text=judged.why if judged.verdict is Verdict.DENY else "",
        )
        return self._settled(settle, at)

    def _judgement(self, call: ToolCall) -> Judgement:
        terms = self._terms
        judged = judge(call, terms.rules, self._allowances, terms.workspace, terms.home)
        if judged.verdict is not Verdict.DENY and self._denials.get(call.sha256, 0) >= TRIES:
            why = f"this was refused or failed {self._denials[call.sha256]} times before"
            return Judgement(
                verdict=Verdict.ASK,
                rule="budget.loop",
                gates=["budget"],
                severity=Severity.MEDIUM,
                why=why,
            )
        return judged

    def _settled(self, settle: talk.Settle, at: float) -> list[talk.Effect]:
        """Answer a request, and ask about the next one that waits."""
        if settle.verdict is Verdict.DENY:
            self._count(settle.call)
        self._requests.pop(settle.request_id, None)
        self._judged.pop(settle.request_id, None)
        return [settle, *self._ask_next(at)]

    def _ask_next(self, at: float) -> list[talk.Effect]:
        """Ask about the oldest request, unless something is asked already."""
        if self._asked is not None or self._consulting:
            return []
        for request_id, request in self._requests.items():
            if isinstance(request, heard.Questioned):
                return self._ask_question(request, at)
            if request_id in self._judged:
                ask = talk.AskCall(
                    call=request.call, judged=self._judged[request_id], intent=request.intent
                )
                return self._ask(request_id, ask, at)
        return []

    def _ask_question(self, question: heard.Questioned, at: float) -> list[talk.Effect]:
        if self._proxied < self._terms.proxy_answers:
            self._proxied += 1
            self._consulting = True
            return [talk.Consult(question.text)]
        ask = talk.AskQuestion(text=question.text, choices=tuple(question.choices))
        return self._ask(question.request_id, ask, at)

    def _ask(self, request_id: str, ask: talk.Effect, at: float) -> list[talk.Effect]:
        self._asked, self._since = request_id, at
        self.phase = Phase.WAITING
        return [ask]

    def _forget(self, request_id: str, at: float) -> list[talk.Effect]:
        """The agent waits for an answer no longer."""
        self._requests.pop(request_id, None)
        self._judged.pop(request_id, None)
        if self._asked != request_id:
            return []
        self._resume_turn()
        return [talk.Withdraw("the agent waits for it no longer"), *self._ask_next(at)]

    def _ask_again(self, refused: talk.Unrecorded) -> list[talk.Effect]:
        """An approval was used before, or is void: this is a new request."""
        judged = self._judgement(refused.call)
        if judged.verdict is not Verdict.ASK:
            judged = Judgement(verdict=Verdict.ASK, rule="approval.void", gates=["unclassified"])
        request_id = refused.request_id
        self._requests[request_id] = heard.Asked(request_id=request_id, call=refused.call)
        self._judged[request_id] = judged
        return self._ask_next(refused.at)

    def _resume_turn(self) -> None:
        self._asked = None
        self.phase = Phase.TURN

    # --- decisions ---

    def _decided(self, answered: talk.Answered) -> list[talk.Effect]:
        request_id, decided = self._asked, answered.decided
        if request_id is None or decided.decision is None:
            return []
        self._resume_turn()
        if not request_id:
            return self._decided_on_budget(decided)
        request = self._requests.get(request_id)
        if isinstance(request, heard.Questioned):
            return self._reply(request, texts.answer_of(decided), decided, answered.at)
        if request is None:
            return self._ask_next(answered.at)
        return self._decided_on_call(request, answered)

    def _decided_on_call(self, asked: heard.Asked, answered: talk.Answered) -> list[talk.Effect]:
        decided, judged = answered.decided, self._judged[asked.request_id]
        allowed = decided.decision is Decision.APPROVE
        if allowed:
            self._widen(judged, answered)
            self._denials.pop(asked.call.sha256, None)
        settle = talk.Settle(
            request_id=asked.request_id,
            call=asked.call,
            verdict=Verdict.ALLOW if allowed else Verdict.DENY,
            rule=f"confirmation.{answered.confirmation_id}",
            gates=tuple(judged.gates),
            confirmation_id=answered.confirmation_id,
            text="" if allowed else texts.refusal(asked.call, decided),
        )
        return [*self._settled(settle, answered.at), *self._pass_on(asked, decided)]

    def _pass_on(self, asked: heard.Asked, decided: Decided) -> list[talk.Effect]:
        """Let what somebody wrote reach an agent whose protocol has no place for it."""
        if decided.decision is Decision.APPROVE:
            return []
        self._next = texts.refusal(asked.call, decided)
        if not self._terms.denies_softly:
            return []  # the denial itself ends the turn
        if decided.reason or decided.decision is Decision.CHANGES:
            self._cancelled = True
            return [talk.CancelTurn()]
        self._next = ""
        return []

    def _widen(self, judged: Judgement, answered: talk.Answered) -> None:
        decided = answered.decided
        if decided.scope is Scope.CALL:
            return
        pattern = "" if decided.scope is Scope.EXECUTION else decided.pattern
        allowance = Allowance(
            gates=list(judged.gates),
            pattern=pattern,
            confirmation_id=str(answered.confirmation_id),
        )
        self._allowances.append(allowance)

    def _reply(
        self, question: heard.Questioned, text: str, decided: Decided, at: float
    ) -> list[talk.Effect]:
        self._requests.pop(question.request_id, None)
        refused = decided.decision is Decision.DENY
        reply = talk.Reply(
            request_id=question.request_id,
            question=question.text,
            text=text,
            verdict=Verdict.DENY if refused else Verdict.ALLOW,
            by=decided.by or "user",
        )
        return [reply, *self._ask_next(at)]

    def _proxy_answered(self, answered: talk.ProxyAnswered) -> list[talk.Effect]:
        self._consulting = False
        for request in self._requests.values():
            if isinstance(request, heard.Questioned):
                if answered.text is None:
                    ask = talk.AskQuestion(text=request.text, choices=tuple(request.choices))
                    return self._ask(request.request_id, ask, answered.at)
                said = Decided(decision=Decision.APPROVE, reason=answered.text, by="proxy")
                return self._reply(request, answered.text, said, answered.at)
        return self._ask_next(answered.at)

    # --- money ---

    def _spend(self, usage: Usage) -> list[talk.Effect]:
        self._budget.note(usage)
        if not self._budget.is_exceeded or self._cancelled or self.phase is not Phase.TURN:
            return []
        self._cancelled = True
        return [talk.CancelTurn()]

    def _decided_on_budget(self, decided: Decided) -> list[talk.Effect]:
        if decided.decision is Decision.DENY:
            return self._fail(FailureKind.BUDGET, self._budget.why)
        told = talk.Reply(
            request_id="", question=self._budget.why, text=texts.answer_of(decided), by=decided.by
        )
        self._budget.extend()
        return [told, talk.Prompt(texts.go_on(decided.reason))]

    # --- the end ---

    def _turn_ended(self, ended: heard.TurnEnded, at: float) -> list[talk.Effect]:
        if ended.usage is not None:
            self._budget.note(ended.usage)
        before = self._drop_requests()
        cancelled, self._cancelled = self._cancelled, False
        if self._next and ended.stop in {heard.Stop.CANCELLED, heard.Stop.DONE}:
            said, self._next = self._next, ""
            return [*before, talk.Prompt(said)]
        if self._budget.is_exceeded and cancelled:
            ask = talk.AskBudget(
                why=self._budget.why, spent=self._budget.spent, limits=self._budget.limits
            )
            return [*before, *self._ask("", ask, at)]
        return [*before, *self._conclude(ended)]

    def _drop_requests(self) -> list[talk.Effect]:
        """A turn that is over waits for nothing."""
        asked, self._asked = self._asked, None
        self._requests.clear()
        self._judged.clear()
        self.phase = Phase.TURN
        return [] if asked is None else [talk.Withdraw("the agent ended its turn")]

    def _conclude(self, ended: heard.TurnEnded) -> list[talk.Effect]:
        if ended.stop is heard.Stop.FAILED:
            if ended.fault is heard.Fault.QUOTA and ended.retry_at is not None:
                self.phase = Phase.OVER
                return [
                    talk.Conclude(
                        outcome=Outcome.PAUSED,
                        kind=FailureKind.QUOTA,
                        error=ended.error,
                        usage=self._budget.used,
                        until=ended.retry_at,
                    )
                ]
            return self._fail(texts.KINDS[ended.fault], texts.failure(ended))
        if ended.stop is not heard.Stop.DONE:
            return self._fail(FailureKind.AGENT, texts.failure(ended))
        if ended.usage is None and self._terms.tells_usage:
            return self._fail(FailureKind.AGENT, texts.NO_USAGE)
        self.phase = Phase.OVER
        return [talk.Conclude(outcome=Outcome.COMPLETED, usage=self._budget.used)]

    def _fail(self, kind: FailureKind, error: str) -> list[talk.Effect]:
        before = self._drop_requests()
        self.phase = Phase.OVER
        failed = talk.Conclude(
            outcome=Outcome.FAILED, kind=kind, error=error, usage=self._budget.used
        )
        return [*before, failed]

    def _park(self) -> list[talk.Effect]:
        self.phase = Phase.OVER
        return [talk.Conclude(outcome=Outcome.PARKED, usage=self._budget.used)]


def _approval(terms: talk.Terms) -> Resume | None:
    """Return the approval this process was started with, if it was one of a call."""
    resume = terms.resume
    if resume is None or resume.decided is None or not resume.call_sha256:
        return None
    return resume if resume.decided.decision is Decision.APPROVE else None
