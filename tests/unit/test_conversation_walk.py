"""Any conversation whatever: random signals, and what must hold after each of them.

A `World` does what the conversation asks for, as its run does, and proves on the way that nobody is
answered twice, nothing is allowed without a reason, and nobody waits for nothing.
"""

from __future__ import annotations

from typing import Final, assert_never
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from events.calls import Scope, ToolCall, Verdict
from events.commands import Decision
from events.running import Decided, Outcome
from events.task import Usage
from pandar_daemon.domain import hearing as heard
from pandar_daemon.domain import talking as talk
from pandar_daemon.domain.conversation import Phase
from tests.support.talks import (
    GATE,
    LATER,
    LOOK,
    OTHER_PUSH,
    PUSH,
    SUDO,
    Chat,
    asked,
    confirmation,
    cost,
    questioned,
    resume,
)

SELDOM: Final = st.integers(0, 5).map(lambda n: n == 0)
"""Most walks should be long: what ends one is rare."""
MOSTLY: Final = SELDOM.map(lambda seldom: not seldom)
ENDS: Final = (heard.Stop.DONE, heard.Stop.CANCELLED)


class World:
    """An agent, its people and the log, as far as they matter."""

    def __init__(self, **terms: object) -> None:
        self.chat = Chat(**terms)
        self.open: dict[str, ToolCall | None] = {}  # what the agent waits for
        self.refused: dict[str, ToolCall] = {}  # not recorded, and not told yet
        self.approvals: dict[UUID, str] = {}
        self.used: set[UUID] = set()
        self.wide: set[str] = set()  # gates that were approved beyond the call
        self.asked: int | None = None
        self.numbers: list[int] = []
        self.consulted: int | None = None
        self.in_turn = self.is_cancelled = self.is_over = False
        self.records = True

    # --- what happens ---

    def tell(self, signal: talk.Signal) -> None:
        """Let the conversation hear this, and do what it asks for."""
        for effect in self.chat.tell(signal):
            assert not self.is_over, "something came after the end"
            self._do(effect)
        self._prove()

    def hear(self, said: heard.Heard) -> None:
        """Let the agent say this."""
        self.chat.at += 1.0
        self.tell(talk.Hears(at=self.chat.at, heard=said))

    def decide(self, number: int, decided: Decided) -> None:
        """Let people decide what they were asked under a number."""
        self.chat.at += 1.0
        if number == self.asked:
            self.asked = None
        of = confirmation(number)
        self.tell(
            talk.Answered(at=self.chat.at, number=number, confirmation_id=of, decided=decided)
        )

    # --- what is done about it ---

    def _do(self, effect: talk.Effect) -> None:
        match effect:
            case talk.Prompt():
                assert not self.in_turn, "prompted in the middle of a turn"
                self.in_turn, self.is_cancelled = True, False
            case talk.CancelTurn():
                assert self.in_turn, "there is no turn to cancel"
                self.is_cancelled = True
                self.open.clear()
            case talk.Settle():
                self._settle(effect)
            case talk.Reply():
                self._reply(effect)
            case talk.Consult():
                self.consulted = effect.number
            case talk.AskCall() | talk.AskQuestion() | talk.AskBudget():
                self._ask(effect)
            case talk.Withdraw():
                assert self.asked is not None, "nobody is asked"
                self.asked = None
            case talk.Conclude():
                self._conclude(effect)
            case talk.Name() | talk.Show():
                pass
            case _:
                assert_never(effect)

    def _settle(self, settle: talk.Settle) -> None:
        assert settle.request_id in self.open, "answered twice, or without being asked"
        assert self.open[settle.request_id] == settle.call
        if settle.verdict is Verdict.ALLOW:
            self._prove_allowed(settle)
        if not self.records:
            self.refused[settle.request_id] = settle.call
            return
        if settle.verdict is Verdict.ALLOW and settle.confirmation_id is not None:
            self.used.add(settle.confirmation_id)
        if not settle.quiet:
            del self.open[settle.request_id]

    def _prove_allowed(self, settle: talk.Settle) -> None:
        of = settle.confirmation_id
        assert settle.call != SUDO, "what is never done was allowed"
        if of is not None:
            assert self.approvals.get(of) == settle.call.sha256, "nobody approved this"
            assert of not in self.used, "an approval was used twice"
        elif settle.call != LOOK:
            assert GATE in self.wide, "nobody approved this"

    def _reply(self, reply: talk.Reply) -> None:
        if reply.request_id:
            assert reply.request_id in self.open, "answered twice, or without being asked"
            assert self.open[reply.request_id] is None, "a call was answered like a question"
            if not reply.quiet:
                del self.open[reply.request_id]

    def _ask(self, ask: talk.AskCall | talk.AskQuestion | talk.AskBudget) -> None:
        assert self.asked is None, "people are asked two things at once"
        assert ask.number not in self.numbers, "a number was given out twice"
        if isinstance(ask, talk.AskCall):
            assert ask.call in self.open.values(), "nobody waits for this"
        self.asked = ask.number
        self.numbers.append(ask.number)

    def _conclude(self, conclusion: talk.Conclude) -> None:
        if conclusion.outcome is Outcome.PARKED:
            assert self.asked is not None, "parked without a question"
        self.is_over = True

    # --- what holds between any two signals ---

    def _prove(self) -> None:
        if self.is_over:
            assert self.chat.conversation.phase is Phase.OVER
            return
        assert (self.chat.conversation.phase is Phase.WAITING) == (self.asked is not None)
        if self.in_turn and not self.is_cancelled and self.asked is None:
            waiting = self.open.keys() - self.refused.keys()
            consulting = any(self.open[each] is None for each in waiting)
            assert not waiting or consulting, "the agent waits, and nobody is asked"


class Walk(RuleBasedStateMachine):
    """Everything that can happen, in any order."""

    world: World
    count = 0

    @initialize(
        answer=st.sampled_from([None, Decision.APPROVE, Decision.APPROVE, Decision.DENY]),
        gate=st.sampled_from([GATE, GATE, "question", "budget"]),
        scope=st.sampled_from([Scope.CALL, Scope.EXECUTION]),
        softly=st.booleans(),
        proxies=st.sampled_from([0, 2]),
        limit=st.sampled_from([None, 3.0]),
        spent=st.sampled_from([0.0, 0.0, 5.0]),
        ready=MOSTLY,
    )
    def begin(
        self,
        answer: Decision | None,
        gate: str,
        scope: Scope,
        softly: bool,
        proxies: int,
        limit: float | None,
        spent: float,
        ready: bool,
    ) -> None:
        """Begin on any terms, fresh or where another process was."""
        sha256 = PUSH.sha256 if gate == GATE else ""
        decided = None if answer is None else Decided(decision=answer, by="ann", scope=scope)
        before = decided and resume(decided, gate=gate, call_sha256=sha256)
        self.world = World(
            resume=before,
            denies_softly=softly,
            proxy="claude",
            proxy_answers=proxies,
            max_cost_usd=limit,
            spent=Usage(cost_usd=spent),
        )
        if answer is Decision.APPROVE:
            self.world.approvals[confirmation(9)] = sha256
            self.world.wide |= {GATE} if scope is Scope.EXECUTION and sha256 else set()
        if ready:
            self.is_ready(loaded=before is not None)

    def _fresh(self) -> str:
        self.count += 1
        return f"request-{self.count}"

    @rule(loaded=st.booleans())
    def is_ready(self, loaded: bool) -> None:
        """It says so, perhaps again."""
        self.world.hear(heard.Ready(session_id="s-1", loaded=loaded))

    @rule(words=st.text(max_size=3), thought=st.booleans())
    def says(self, words: str, thought: bool) -> None:
        """It says something."""
        self.world.hear(heard.Said(text=words, thought=thought))

    @precondition(lambda self: self.world.in_turn)
    @rule(call=st.sampled_from([LOOK, PUSH, PUSH, OTHER_PUSH, SUDO]), records=MOSTLY)
    def asks(self, call: ToolCall, records: bool) -> None:
        """It asks for a call; the log may refuse what is done about it."""
        world, request_id = self.world, self._fresh()
        world.records = records or call == LOOK
        if not world.is_cancelled:
            world.open[request_id] = call
        world.hear(asked(call, request_id, request_id))
        world.records = True

    @precondition(lambda self: self.world.in_turn)
    @rule()
    def wonders(self) -> None:
        """It asks a question."""
        world, request_id = self.world, self._fresh()
        if not world.is_cancelled:
            world.open[request_id] = None
        world.hear(questioned(request_id))

    @precondition(lambda self: self.world.open)
    @rule(data=st.data())
    def withdraws(self, data: st.DataObject) -> None:
        """It waits for something no longer."""
        request_id = data.draw(st.sampled_from(sorted(self.world.open)))
        del self.world.open[request_id]
        self.world.hear(heard.Withdrawn(request_id=request_id))

    @rule(call=st.sampled_from([LOOK, PUSH]), call_id=st.sampled_from(["", "a", "b"]))
    def fails_at_something(self, call: ToolCall, call_id: str) -> None:
        """A call fails."""
        status = heard.CallStatus.FAILED
        self.world.hear(heard.Called(call_id=call_id, call=call, status=status))

    @rule(usd=st.floats(0, 20))
    def spends(self, usd: float) -> None:
        """It costs money."""
        self.world.hear(cost(usd))

    @precondition(lambda self: self.world.in_turn and self.world.is_cancelled)
    @rule(stop=st.sampled_from(ENDS))
    def ends_a_cancelled_turn(self, stop: heard.Stop) -> None:
        """It obeys, or was done just then."""
        self._end(heard.TurnEnded(stop=stop, usage=None))

    @precondition(lambda self: self.world.in_turn)
    @rule(seldom=SELDOM, stop=st.sampled_from(heard.Stop), quota=st.booleans())
    def ends_its_turn(self, seldom: bool, stop: heard.Stop, quota: bool) -> None:
        """It ends its turn somehow."""
        if seldom:
            fault = heard.Fault.QUOTA if quota else heard.Fault.AGENT
            usage = Usage(input_tokens=1)
            self._end(heard.TurnEnded(stop=stop, fault=fault, usage=usage, retry_at=LATER))

    def _end(self, ended: heard.TurnEnded) -> None:
        world = self.world
        world.in_turn = False
        world.open.clear()
        world.hear(ended)

    @rule(seldom=SELDOM, error=st.sampled_from(["gone", "too large"]))
    def breaks(self, seldom: bool, error: str) -> None:
        """It is gone, or does what cannot be recorded."""
        if seldom and error == "gone":
            self.world.hear(heard.Broken(error=error))
        elif seldom:
            self.world.tell(talk.Unstorable(at=self.world.chat.at, error=error))

    # --- people ---

    @precondition(lambda self: self.world.asked is not None)
    @rule(
        decision=st.sampled_from(Decision),
        reason=st.sampled_from(["", "because"]),
        scope=st.sampled_from([Scope.CALL, Scope.CALL, Scope.EXECUTION]),
        records=MOSTLY,
    )
    def is_decided(self, decision: Decision, reason: str, scope: Scope, records: bool) -> None:
        """People decide; the log may refuse what is done about it."""
        world = self.world
        number = world.asked
        assert number is not None
        call = self._call_at(number)
        if decision is Decision.APPROVE and call is not None:
            world.approvals[confirmation(number)] = call.sha256
            world.wide |= {GATE} if scope is Scope.EXECUTION else set()
        world.records = records
        world.decide(number, Decided(decision=decision, reason=reason, by="ann", scope=scope))
        world.records = True

    def _call_at(self, number: int) -> ToolCall | None:
        turn = self.world.chat.conversation._turn
        assert turn.is_meant(number)
        return self.world.open.get(turn.asked or "")

    @precondition(lambda self: len(self.world.numbers) > 1)
    @rule(data=st.data(), decision=st.sampled_from(Decision))
    def is_decided_late(self, data: st.DataObject, decision: Decision) -> None:
        """A decision comes when it is about nothing any more."""
        number = data.draw(st.sampled_from(self.world.numbers[:-1]))
        self.world.decide(number, Decided(decision=decision, by="bob"))

    @precondition(lambda self: self.world.consulted is not None)
    @rule(text=st.sampled_from([None, "main"]), late=st.booleans())
    def is_advised(self, text: str | None, late: bool) -> None:
        """Another agent answers, perhaps what nobody asks any more."""
        world, number = self.world, self.world.consulted
        assert number is not None
        if not late:
            world.consulted = None
        about = number - 1 if late else number
        world.tell(talk.ProxyAnswered(at=world.chat.at, number=about, text=text))

    @precondition(lambda self: self.world.refused)
    @rule()
    def is_refused_by_the_log(self) -> None:
        """What was to be done may not be done."""
        world = self.world
        request_id, call = world.refused.popitem()
        at = world.chat.at
        world.tell(talk.Unrecorded(at=at, request_id=request_id, call=call))

    @rule(seldom=SELDOM, seconds=st.sampled_from([0.0, 29.0, 61.0]))
    def time_passes(self, seldom: bool, seconds: float) -> None:
        """Nothing happens for a while."""
        world = self.world
        if seldom:
            world.chat.at += seconds
            world.tell(talk.Waited(at=world.chat.at))

    @rule(seldom=SELDOM)
    def goes_down(self, seldom: bool) -> None:
        """Its runner is to end."""
        if seldom:
            self.world.tell(talk.ParkNow(at=self.world.chat.at))

    @precondition(lambda self: self.world.asked is not None)
    @rule(seldom=SELDOM)
    def cannot_ask(self, seldom: bool) -> None:
        """People cannot be asked."""
        world, number = self.world, self.world.asked
        if seldom and number is not None:
            world.tell(talk.Unasked(at=world.chat.at, number=number, error="409"))


TestWalk = Walk.TestCase
TestWalk.settings = settings(
    max_examples=150, stateful_step_count=50, derandomize=True, database=None, deadline=None
)
