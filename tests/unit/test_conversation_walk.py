"""Any conversation whatever: random signals, and what must hold after each of them.

A `World` does what the conversation asks for, as its run does, and proves on the way that nobody is
answered twice, nothing is allowed without a reason, and nobody waits for nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, assert_never
from uuid import UUID

import pytest
from msgspec.structs import replace

from events.calls import Scope, ToolCall, Verdict
from events.commands import Decision
from events.running import Decided, Outcome
from events.task import Usage
from pandar_daemon.domain import hearing as heard
from pandar_daemon.domain import talking as talk
from pandar_daemon.domain.conversation import Phase
from pandar_daemon.domain.door_requests import AT_DOOR
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

WALKS: Final = 40
"""From each seed."""
STEPS: Final = 50


class World:
    """An agent, its people and the log, as far as they matter."""

    def __init__(self, **terms: object) -> None:
        self.chat = Chat(**terms)
        self.open: dict[str, ToolCall | None] = {}  # what the agent waits for
        self.at_door: dict[str, ToolCall | None] = {}  # what its programs wait for
        self.refused: dict[str, ToolCall] = {}  # not recorded, and not told yet
        self.approvals: dict[UUID, str] = {}
        self.used: set[UUID] = set()
        self.wide: set[str] = set()  # gates that were approved beyond the call
        self.asked: int | None = None
        self.numbers: list[int] = []
        self.consulted: int | None = None
        self.in_turn = self.is_cancelled = self.is_over = False
        self.records = True
        self.requests = 0
        self.foreseen: set[str] = set()

    def fresh(self, call: ToolCall | None) -> str:
        """Return the id of a new request; cancelling answers those that come after it."""
        self.requests += 1
        request_id = f"request-{self.requests}"
        if not self.is_cancelled:
            self.open[request_id] = call
        return request_id

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

    def _do(self, effect: talk.Effect) -> None:  # noqa: C901 - a table
        match effect:
            case talk.Prompt():
                assert not self.in_turn, "prompted in the middle of a turn"
                self.in_turn, self.is_cancelled = True, False
            case talk.CancelTurn():
                assert self.in_turn, "there is no turn to cancel"
                assert not self._kept_waiting, "somebody at a door was forgotten"
                self.is_cancelled = True
                self.open.clear()
            case talk.Settle():
                self._settle(effect)
            case talk.Reply():
                self._reply(effect)
            case talk.Refuse():
                assert effect.text
                del self.at_door[effect.request_id]
                self.refused.pop(effect.request_id, None)
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
        at_door = settle.request_id in self.at_door
        waiting = self.at_door if at_door else self.open
        assert settle.request_id in waiting, "answered twice, or without being asked"
        assert waiting[settle.request_id] == settle.call
        assert not (at_door and settle.quiet), "somebody at a door is not answered"
        if settle.verdict is Verdict.ALLOW:
            self._prove_allowed(settle)
        if not self.records:
            self.refused[settle.request_id] = settle.call
            return
        if settle.verdict is Verdict.ALLOW and settle.confirmation_id is not None:
            self.used.add(settle.confirmation_id)
        if not settle.quiet:
            del waiting[settle.request_id]

    def _prove_allowed(self, settle: talk.Settle) -> None:
        of = settle.confirmation_id
        assert settle.call != SUDO, "what is never done was allowed"
        if settle.rule == AT_DOOR:
            kept = {sha for of, sha in self.approvals.items() if of not in self.used}
            assert settle.request_id in self.foreseen, "it may never come to the door"
            assert settle.call.sha256 in kept, "nobody approved this"
            return
        if of is not None:
            assert self.approvals.get(of) == settle.call.sha256, "nobody approved this"
            assert of not in self.used, "an approval was used twice"
        elif settle.grant_id is None and settle.call != LOOK:
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
            waiting = [*self.open.values(), *self.at_door.values()]
            assert ask.call in waiting, "nobody waits for this"
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
        if self.is_cancelled:
            assert not self._kept_waiting, "somebody at a door waits for a turn that was cancelled"
        if self.in_turn and not self.is_cancelled and self.asked is None:
            consulted = any(call is None for call in self.open.values())
            assert consulted or not self._kept_waiting, "somebody waits at a door, nobody is asked"
            waiting = self.open.keys() - self.refused.keys()
            consulting = any(self.open[each] is None for each in waiting)
            assert not waiting or consulting, "the agent waits, and nobody is asked"

    @property
    def _kept_waiting(self) -> set[str]:
        return self.at_door.keys() - self.refused.keys()


# --- everything that can happen ---


def _begin(rng: random.Random) -> World:
    """Return one on any terms, fresh or where another process was."""
    decision = rng.choice([None, Decision.APPROVE, Decision.APPROVE, Decision.DENY])
    gate = rng.choice([GATE, GATE, "question", "budget"])
    scope = rng.choice([Scope.CALL, Scope.CALL, Scope.EXECUTION])
    sha256 = PUSH.sha256 if gate == GATE else ""
    decided = None if decision is None else Decided(decision=decision, by="ann", scope=scope)
    world = World(
        resume=decided and resume(decided, gate=gate, call_sha256=sha256),
        denies_softly=rng.random() < 0.7,
        proxy="claude",
        proxy_answers=rng.choice([0, 2]),
        max_cost_usd=rng.choice([None, 3.0]),
        spent=Usage(cost_usd=rng.choice([0.0, 0.0, 5.0])),
    )
    if decision is Decision.APPROVE and sha256:
        world.approvals[confirmation(9)] = sha256
        world.wide |= {GATE} if scope is Scope.EXECUTION else set()
    return world


def _is_ready(world: World, rng: random.Random) -> None:
    world.hear(heard.Ready(session_id="s-1", loaded=rng.random() < 0.5))


def _says(world: World, rng: random.Random) -> None:
    world.hear(heard.Said(text=rng.choice(["", "x"]), thought=rng.random() < 0.5))


def _asks(world: World, rng: random.Random) -> None:
    """It asks for a call; the log may refuse what is done about it."""
    if world.in_turn:
        call = rng.choice([LOOK, PUSH, PUSH, OTHER_PUSH, SUDO])
        request_id = world.fresh(call)
        world.records = rng.random() < 0.9
        foreseen = rng.random() < 0.3
        world.foreseen |= {request_id} if foreseen else set()
        world.hear(replace(asked(call, request_id, request_id), foreseen=foreseen))
        world.records = True


def _comes_to_a_door(world: World, rng: random.Random) -> None:
    """One of its programs does, at any time; perhaps it goes away again at once."""
    world.requests += 1
    request_id, call = f"{heard.DOOR}{world.requests}", rng.choice([LOOK, PUSH, OTHER_PUSH, SUDO])
    if world.is_over:
        return
    world.at_door[request_id] = call
    world.records = rng.random() < 0.9
    world.hear(asked(call, request_id))
    world.records = True


def _leaves_a_door(world: World, rng: random.Random) -> None:
    if world.at_door:
        request_id = rng.choice(sorted(world.at_door))
        del world.at_door[request_id]
        world.refused.pop(request_id, None)
        world.hear(heard.Withdrawn(request_id=request_id))


def _wonders(world: World, rng: random.Random) -> None:
    if world.in_turn:
        world.hear(questioned(world.fresh(None)))


def _withdraws(world: World, rng: random.Random) -> None:
    if world.open:
        request_id = rng.choice(sorted(world.open))
        del world.open[request_id]
        world.hear(heard.Withdrawn(request_id=request_id))


def _fails_at_something(world: World, rng: random.Random) -> None:
    call_id, status = rng.choice(["", "a", "b"]), heard.CallStatus.FAILED
    world.hear(heard.Called(call_id=call_id, call=rng.choice([LOOK, PUSH]), status=status))


def _spends(world: World, rng: random.Random) -> None:
    world.hear(cost(rng.uniform(0, 12)))


def _ends_its_turn(world: World, rng: random.Random) -> None:
    """It obeys when it is told to, or was done just then; else it seldom ends."""
    if not world.in_turn or (not world.is_cancelled and rng.random() < 0.9):
        return
    stop = rng.choice([heard.Stop.DONE, heard.Stop.CANCELLED])
    if not world.is_cancelled:
        stop = rng.choice(list(heard.Stop))
    world.in_turn = False
    world.open.clear()
    fault, usage = rng.choice(list(heard.Fault)), Usage(input_tokens=1)
    world.hear(heard.TurnEnded(stop=stop, fault=fault, usage=usage, retry_at=LATER))


def _is_decided(world: World, rng: random.Random) -> None:
    """People decide; the log may refuse what is done about it."""
    number = world.asked
    if number is None:
        return
    decision = rng.choice([Decision.APPROVE, *Decision])
    scope = rng.choice([Scope.CALL] * 4 + [Scope.EXECUTION])
    of = world.chat.conversation._turn.asked or ""
    call = world.at_door.get(of) or world.open.get(of)
    if decision is Decision.APPROVE and call is not None:
        world.approvals[confirmation(number)] = call.sha256
        world.wide |= {GATE} if scope is Scope.EXECUTION else set()
    world.records = rng.random() < 0.8
    reason = rng.choice(["", "because"])
    world.decide(number, Decided(decision=decision, reason=reason, by="ann", scope=scope))
    world.records = True


def _is_granted(world: World, rng: random.Random) -> None:
    """The project consented to what people would be asked."""
    number = world.asked
    if number is not None and world.chat.conversation._turn.asked:
        world.asked = None
        grant = talk.Granted(at=world.chat.at, number=number, grant_id=confirmation(7))
        world.tell(grant)


def _is_decided_late(world: World, rng: random.Random) -> None:
    """A decision comes when it is about nothing any more."""
    late = [number for number in world.numbers if number != world.asked]
    if late:
        world.decide(rng.choice(late), Decided(decision=rng.choice(list(Decision)), by="bob"))


def _is_advised(world: World, rng: random.Random) -> None:
    """Another agent answers, perhaps what nobody asks any more."""
    if world.consulted is not None:
        about = world.consulted - rng.choice([0, 0, 1])
        text = rng.choice([None, "main"])
        world.tell(talk.ProxyAnswered(at=world.chat.at, number=about, text=text))


def _is_refused_by_the_log(world: World, rng: random.Random) -> None:
    """What was to be done may not be done."""
    if world.refused:
        request_id, call = world.refused.popitem()
        at = world.chat.at
        world.tell(talk.Unrecorded(at=at, request_id=request_id, call=call))


def _ends_somehow(world: World, rng: random.Random) -> None:
    """Time passes, its runner goes down, it breaks, or people cannot be asked."""
    world.chat.at += rng.choice([0.0, 29.0, 61.0])
    at, number = world.chat.at, world.asked or 0
    signals: list[talk.Signal] = [talk.Waited(at=at), talk.Unready(at=at), talk.ParkNow(at=at)]
    signals += [talk.Unstorable(at=at, error="too large")]
    signals += [talk.Unasked(at=at, number=number, error="409")]
    signals += [talk.Hears(at=at, heard=heard.Broken(error="garbage"))]
    signals += [talk.Ended(at=at, heard=heard.Broken(error="gone"))]
    if rng.random() < 0.2:
        world.tell(rng.choice(signals))


MOVES: Final[dict[Callable[[World, random.Random], None], int]] = {
    _is_ready: 1,
    _says: 1,
    _asks: 6,
    _comes_to_a_door: 3,
    _leaves_a_door: 1,
    _wonders: 2,
    _withdraws: 2,
    _fails_at_something: 1,
    _spends: 1,
    _ends_its_turn: 3,
    _is_decided: 4,
    _is_granted: 1,
    _is_decided_late: 1,
    _is_advised: 2,
    _is_refused_by_the_log: 2,
    _ends_somehow: 1,
}
"""With how often each is made, compared with the others."""


@pytest.mark.parametrize("seed", range(20))
def test_any_conversation_keeps_every_promise(seed: int) -> None:
    """Whatever happens in whatever order; every step was proven on the way."""
    rng = random.Random(seed)
    for _ in range(WALKS):
        world = _begin(rng)
        if rng.random() < 0.9:
            _is_ready(world, rng)
        for move in rng.choices(list(MOVES), list(MOVES.values()), k=STEPS):
            move(world, rng)
