"""An agent's turn: what it asks for, and what becomes of that. A part of `conversation`.

* What is allowed or refused is recorded before the agent hears of it; what is to be asked waits,
  one at a time, for as long as it takes. Each question has a number, so that no answer can be
  taken for that to another.
* A reason to refuse has no place in most protocols, and some agents take any refusal for the end
  of the turn: then it is cancelled, and the reason is the next thing said. Nothing is asked or
  answered any more in a turn that was cancelled.
* What programs of the agent ask for at a door is judged by the same rules. They hear every reason,
  so a refusal ends no turn; they have no protocol by which a cancelled turn would answer them, so
  each is refused in words. Before the first turn they wait, should people have to be asked.
"""

from __future__ import annotations

from typing import Final

from events.calls import Verdict
from events.commands import Decision
from events.running import Decided
from pandar_daemon.domain import conversation_texts as texts
from pandar_daemon.domain import talking as talk
from pandar_daemon.domain.budget import Budget
from pandar_daemon.domain.door_requests import AT_DOOR, is_door, put_off, refusals
from pandar_daemon.domain.hearing import Asked, Called, Questioned
from pandar_daemon.domain.precedents import VOID, Precedents, Ruling

BUDGET: Final = ""
"""The request that is none of the agent's: may it cost more?"""
CANCELLED: Final = "the agent's turn was cancelled"

Request = Asked | Questioned


class Turn:
    """The present one; after `end`, the next one."""

    def __init__(self, terms: talk.Terms) -> None:
        self.next = ""
        """What is said once the turn is over."""
        self.asked: str | None = None
        """The request people are asked about."""
        self.asked_at = 0.0
        self.cancelled_at: float | None = None
        self._has_begun = False
        self._terms = terms
        self._precedents = Precedents(terms)
        self._open: dict[str, Request] = {}  # oldest first
        self._rulings: dict[str, Ruling] = {}  # of those that people have to be asked about
        self._settled: set[str] = set()  # answered, by our account
        self._consulted: str | None = None  # what another agent is asked about
        self._number = 0
        self._proxied = 0

    def is_meant(self, number: int) -> bool:
        """Whether this is the number of what people are asked now."""
        return self.asked is not None and number == self._number

    def begin(self, at: float) -> list[talk.Effect]:
        """Do what waited at a door for the first turn."""
        self._has_begun = True
        return [] if self._is_busy else self.go_on(at)

    def end(self, why: str) -> list[talk.Effect]:
        """Wait for nothing any more; the next turn begins."""
        self.next, self.cancelled_at = "", None
        return self._drop(why)

    def cancel(self, at: float, words: str = "") -> list[talk.Effect]:
        """End it before its time, which answers all that is open, and say this next."""
        self.next, self.cancelled_at = words, at
        return [*self._drop(CANCELLED), talk.CancelTurn()]

    def _drop(self, why: str) -> list[talk.Effect]:
        asked, self.asked, self._consulted = self.asked, None, None
        refused = refusals(list(self._open), why)
        for known in (self._open, self._rulings, self._settled):
            known.clear()
        return [*([] if asked is None else [talk.Withdraw(why)]), *refused]

    # --- what is asked ---

    def failed(self, called: Called) -> None:
        """Take note that a call failed."""
        self._precedents.failed(called.call, called.call_id)

    def consider(self, request: Request, at: float) -> list[talk.Effect]:
        """Take note of a new request, and do what can be done about it now."""
        if self.cancelled_at is not None:  # cancelling answered it, unless it is asked at a door
            return refusals([request.request_id], CANCELLED)
        self._open[request.request_id] = request
        return self._attend(request, at)

    def withdrawn(self, request_id: str, at: float) -> list[talk.Effect]:
        """Forget a request nobody waits for any longer."""
        self._open.pop(request_id, None)
        self._rulings.pop(request_id, None)
        self._settled.discard(request_id)
        if self._consulted == request_id:
            self._consulted = None
            return self.go_on(at)
        if self.asked is None or self.asked != request_id:
            return []
        self.asked = None
        return [talk.Withdraw("the agent waits for it no longer"), *self.go_on(at)]

    def unrecorded(self, refused: talk.Unrecorded) -> list[talk.Effect]:
        """Ask about a call anew, if it is open still: its approval was used before, or is void."""
        request_id, call = refused.request_id, refused.call
        if request_id not in self._settled or self.cancelled_at is not None:
            return refusals([request_id], CANCELLED)
        self._settled.discard(request_id)
        asked, ruling = Asked(request_id=request_id, call=call), self._precedents.rule(call)
        if ruling.judged.verdict is Verdict.DENY:
            return self._settle(asked, ruling, refused.at)
        if ruling.judged.verdict is Verdict.ALLOW:
            ruling = Ruling(judged=VOID)
        self._open[request_id], self._rulings[request_id] = asked, ruling
        return [] if self._is_busy else self._ask_call(asked, ruling, refused.at)

    @property
    def _is_busy(self) -> bool:
        return self.asked is not None or self._consulted is not None or not self._has_begun

    def _attend(self, request: Request, at: float) -> list[talk.Effect]:
        if isinstance(request, Questioned):
            return [] if self._is_busy else self._ask_question(request, at)
        ruling = put_off(request, self._precedents.rule(request.call), self._terms)
        if ruling.judged.verdict is not Verdict.ASK:
            return self._settle(request, ruling, at)
        self._rulings[request.request_id] = ruling
        return [] if self._is_busy else self._ask_call(request, ruling, at)

    def go_on(self, at: float) -> list[talk.Effect]:
        """Look at all open requests anew: what was decided may be about others, too."""
        effects: list[talk.Effect] = []
        for request in list(self._open.values()):
            if self.cancelled_at is None and request.request_id not in {
                self.asked,
                self._consulted,
            }:
                effects += self._attend(request, at)
        return effects

    def _ask_call(self, asked: Asked, ruling: Ruling, at: float) -> list[talk.Effect]:
        number = self._wait_for(asked.request_id, at)
        judged, intent = ruling.judged, asked.intent
        return [talk.AskCall(number=number, call=asked.call, judged=judged, intent=intent)]

    def _ask_question(self, question: Questioned, at: float) -> list[talk.Effect]:
        if self._proxied >= self._terms.proxy_answers:
            return self._ask_people(question, at)
        self._proxied += 1
        self._number += 1
        self._consulted = question.request_id
        return [talk.Consult(number=self._number, question=question.text)]

    def _ask_people(self, question: Questioned, at: float) -> list[talk.Effect]:
        number, choices = self._wait_for(question.request_id, at), tuple(question.choices)
        return [talk.AskQuestion(number=number, text=question.text, choices=choices)]

    def ask_budget(self, budget: Budget, at: float) -> list[talk.Effect]:
        """Ask people whether it may cost more."""
        number, spent = self._wait_for(BUDGET, at), budget.spent
        return [talk.AskBudget(number=number, why=budget.why, spent=spent, limits=budget.limits)]

    def _wait_for(self, request_id: str, at: float) -> int:
        self._number += 1
        self.asked, self.asked_at = request_id, at
        self._precedents.lapse()
        return self._number

    # --- what is done about it ---

    def _settle(self, asked: Asked, ruling: Ruling, at: float) -> list[talk.Effect]:
        """Do what needs nobody's decision now."""
        judged = ruling.judged
        denied = judged.verdict is Verdict.DENY
        words = texts.refused_by_rule(asked.call, judged.why) if denied else ""
        if denied:
            self._precedents.failed(asked.call, asked.call_id)
        self._precedents.used(ruling)
        settle = talk.Settle(
            request_id=asked.request_id,
            call=asked.call,
            verdict=judged.verdict,
            rule=judged.rule,
            gates=tuple(judged.gates),
            confirmation_id=ruling.confirmation_id,
            grant_id=texts.uuid_of(judged.allowance.grant_id if judged.allowance else ""),
            text=words,
            quiet=denied and not (self._terms.denies_softly or is_door(asked.request_id)),
        )
        return [self._closed(settle), *(self.cancel(at, words) if settle.quiet else [])]

    def _closed(self, settle: talk.Settle) -> talk.Settle:
        self._open.pop(settle.request_id, None)
        self._rulings.pop(settle.request_id, None)
        self._settled.add(settle.request_id)
        return settle

    def decided(self, answered: talk.Answered) -> list[talk.Effect]:
        """Do what people decided, and go on."""
        request_id, self.asked = self.asked, None
        request = self._open.get(request_id or "")
        if isinstance(request, Questioned):
            return self._answer(request, answered)
        return self.go_on(answered.at) if request is None else self._obey(request, answered)

    def granted(self, granted: talk.Granted) -> list[talk.Effect]:
        """Allow a call by a standing grant, and go on."""
        request_id, self.asked = self.asked, None
        asked = self._open.get(request_id or "")
        if not isinstance(asked, Asked):
            return self.go_on(granted.at)
        settle = talk.Settle(
            request_id=asked.request_id,
            call=asked.call,
            verdict=Verdict.ALLOW,
            rule=f"grant.{granted.grant_id}",
            gates=tuple(self._gates(asked)),
            grant_id=granted.grant_id,
        )
        return [self._closed(settle), *self.go_on(granted.at)]

    def _obey(self, asked: Asked, answered: talk.Answered) -> list[talk.Effect]:
        decided, at, gates = answered.decided, answered.at, self._gates(asked)
        allowed = decided.decision is Decision.APPROVE
        kept = allowed and asked.foreseen  # for when it comes to the door
        text = "" if allowed else texts.refusal(asked.call, decided)
        if allowed:
            if kept:
                self._precedents.keep(asked.call, gates, decided, answered.confirmation_id)
            else:
                self._precedents.approved(asked.call, gates, decided, answered.confirmation_id)
        else:
            self._precedents.failed(asked.call, asked.call_id)
        settle = talk.Settle(
            request_id=asked.request_id,
            call=asked.call,
            verdict=Verdict.ALLOW if allowed else Verdict.DENY,
            rule=AT_DOOR if kept else f"confirmation.{answered.confirmation_id}",
            gates=tuple(gates),
            confirmation_id=None if kept else answered.confirmation_id,
            text=text,
            quiet=not allowed and self._must_say_it_later(asked, decided),
        )
        return [self._closed(settle), *(self.cancel(at, text) if settle.quiet else self.go_on(at))]

    def _must_say_it_later(self, asked: Asked, decided: Decided) -> bool:
        """Whether a refusal cannot be told the agent as it is, in this turn."""
        unheard = _has_words(decided) and not self._terms.hears_reasons
        return (unheard or not self._terms.denies_softly) and not is_door(asked.request_id)

    def _gates(self, asked: Asked) -> list[str]:
        ruling = self._rulings.get(asked.request_id)
        return ruling.judged.gates if ruling else []

    def _answer(self, question: Questioned, answered: talk.Answered) -> list[talk.Effect]:
        decided, at = answered.decided, answered.at
        refused = decided.decision is Decision.DENY
        quiet = refused and bool(decided.reason)
        words = texts.declined(question.text, decided)
        reply = talk.Reply(
            request_id=question.request_id,
            question=question.text,
            text=texts.answer_of(decided),
            verdict=Verdict.DENY if refused else Verdict.ALLOW,
            by=texts.who(decided),
            quiet=quiet,
        )
        del self._open[question.request_id]
        return [reply, *(self.cancel(at, words) if quiet else self.go_on(at))]

    def proxy_answered(self, answered: talk.ProxyAnswered) -> list[talk.Effect]:
        """Pass an answer on, or ask people if there is none."""
        request_id = self._consulted
        if request_id is None or answered.number != self._number:
            return []
        self._consulted = None
        question = self._open.get(request_id)
        if not isinstance(question, Questioned):
            return self.go_on(answered.at)
        if answered.text is None:
            return self._ask_people(question, answered.at)
        del self._open[request_id]
        reply = talk.Reply(
            request_id=request_id,
            question=question.text,
            text=answered.text,
            by=f"proxy:{self._terms.proxy}",
        )
        return [reply, *self.go_on(answered.at)]


def _has_words(decided: Decided) -> bool:
    return bool(decided.reason) or decided.decision is Decision.CHANGES
