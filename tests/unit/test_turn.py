"""What an agent asks for in its turn, and what becomes of that, by example."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from events.calls import Allowance, Rules, Scope, ToolCall, Verdict
from events.commands import Decision
from events.running import Decided, Outcome
from pandar_daemon.domain import hearing as heard
from pandar_daemon.domain import talking as talk
from pandar_daemon.domain.conversation import CANCEL_SEC, Phase
from pandar_daemon.domain.precedents import TRIES
from tests.support.calls import command
from tests.support.talks import (
    CANCELLED,
    DONE,
    GATE,
    LOOK,
    OTHER_PUSH,
    PUSH,
    RULES,
    SUDO,
    Chat,
    asked,
    call_of,
    confirmation,
    decided,
    denied,
    kinds,
    over,
    prompt,
    questioned,
    resume,
    settled,
)

CHANGES = decided(Decision.CHANGES, "push to a branch")


def failed(call: ToolCall = LOOK, call_id: str = "") -> heard.Called:
    """Return that a call failed."""
    return heard.Called(call_id=call_id, call=call, status=heard.CallStatus.FAILED)


# --- calls -----------------------------------------------------------------------------------


def test_what_is_allowed_is_recorded_and_answered() -> None:
    """People are not asked."""
    assert Chat.begun().hear(asked(LOOK)) == [
        talk.Settle(request_id="1", call=LOOK, verdict=Verdict.ALLOW, rule="policy.auto_with_gates")
    ]


def test_what_is_never_done_is_refused_with_a_reason() -> None:
    """And the turn goes on."""
    (settle,) = Chat.begun().hear(asked(SUDO))
    assert isinstance(settle, talk.Settle)
    assert (settle.verdict, settle.rule, settle.quiet) == (Verdict.DENY, "deny.root", False)
    assert "the configuration denies root" in settle.text


def test_what_stops_at_a_gate_is_asked_about() -> None:
    """With all that the card shows."""
    (ask,) = Chat.begun().hear(asked())
    assert isinstance(ask, talk.AskCall)
    assert (ask.call, ask.intent, ask.judged.gates) == (PUSH, "I must", [GATE])


@pytest.mark.parametrize("policy", ["auto", "manual"])
def test_the_policy_says_what_is_asked_about(policy: str) -> None:
    """Nothing, or everything."""
    effects = Chat.begun(rules=Rules(policy=policy)).hear(asked(LOOK))
    assert kinds(effects) == [talk.Settle if policy == "auto" else talk.AskCall]


def test_an_approval_is_recorded_as_what_it_is() -> None:
    """Then the agent is told: this once."""
    chat = Chat.begun(asked())
    assert chat.answer(decided()) == [
        talk.Settle(
            request_id="1",
            call=PUSH,
            verdict=Verdict.ALLOW,
            rule=f"confirmation.{confirmation(1)}",
            gates=(GATE,),
            confirmation_id=confirmation(1),
        )
    ]
    assert chat.conversation.phase is Phase.TURN
    assert call_of(chat.hear(asked(request_id="2"))) == PUSH


def test_a_denial_without_words_is_an_answer() -> None:
    """The agent goes on in the same turn."""
    (settle,) = Chat.begun(asked()).answer(denied())
    assert isinstance(settle, talk.Settle)
    assert (settle.verdict, settle.quiet) == (Verdict.DENY, False)


@pytest.mark.parametrize("answer", [denied("not on a Friday"), CHANGES])
def test_words_reach_the_agent_in_a_turn_of_their_own(answer: Decided) -> None:
    """The turn is cancelled, which answers the call, and they are the next thing said."""
    chat = Chat.begun(asked())
    settle, cancel = chat.answer(answer)
    assert isinstance(settle, talk.Settle)
    assert (settle.verdict, settle.quiet, cancel) == (Verdict.DENY, True, talk.CancelTurn())
    said = prompt(chat.hear(CANCELLED))
    assert PUSH.command in said
    assert answer.reason in said


def test_words_reach_an_agent_that_was_done_already() -> None:
    """Its turn may have ended by itself."""
    chat = Chat.begun(asked())
    chat.answer(denied("no"))
    assert kinds(chat.hear(DONE)) == [talk.Show, talk.Prompt]
    assert over(chat.hear(DONE)).outcome is Outcome.COMPLETED


def test_a_turn_that_fails_passes_no_words_on() -> None:
    """There is nobody to tell."""
    chat = Chat.begun(asked())
    chat.answer(denied("no"))
    ended = heard.TurnEnded(stop=heard.Stop.FAILED, error="529", fault=heard.Fault.MODEL)
    assert over(chat.hear(ended)).outcome is Outcome.FAILED


def test_who_does_not_end_a_cancelled_turn_is_given_up() -> None:
    """It would not hear the words."""
    chat = Chat.begun(asked())
    chat.answer(denied("no"))
    assert "after it was told to stop" in over(chat.wait(CANCEL_SEC)).error


def test_nobody_deciding_is_a_denial() -> None:
    """Recorded as what it is."""
    settle = settled(Chat.begun(asked()).answer(decided(Decision.DENY, expired=True)))
    assert settle.verdict is Verdict.DENY
    assert "nobody decided in time" in settle.text


@pytest.mark.parametrize("call", [PUSH, SUDO])
def test_any_refusal_ends_the_turn_of_some_agents(call: ToolCall) -> None:
    """Then it is ended in order, and what was refused is the next thing said."""
    chat = Chat.begun(denies_softly=False)
    effects = chat.hear(asked(call))
    if call is PUSH:
        effects = chat.answer(denied())
    settle, cancel = effects
    assert isinstance(settle, talk.Settle)
    assert (settle.quiet, cancel) == (True, talk.CancelTurn())
    assert call.command in prompt(chat.hear(CANCELLED))
    assert over(chat.hear(DONE)).outcome is Outcome.COMPLETED


# --- several at once -------------------------------------------------------------------------


def test_people_are_asked_one_thing_at_a_time() -> None:
    """In the order in which it was asked; what needs nobody is not held up."""
    chat = Chat.begun(asked())
    assert chat.hear(asked(OTHER_PUSH, "2")) == []
    assert chat.hear(questioned()) == []
    assert kinds(chat.hear(asked(LOOK, "3"))) == [talk.Settle]
    settle, ask = chat.answer(decided())
    assert isinstance(settle, talk.Settle)
    assert settle.request_id == "1"
    assert call_of([ask]) == OTHER_PUSH
    assert kinds(chat.answer(denied())) == [talk.Settle, talk.AskQuestion]
    assert kinds(chat.answer(decided())) == [talk.Reply]


def test_nothing_is_asked_in_a_turn_that_was_cancelled() -> None:
    """Cancelling answered what was open, and what comes after it."""
    chat = Chat.begun(asked(), asked(OTHER_PUSH, "2"))
    assert kinds(chat.answer(denied("no"))) == [talk.Settle, talk.CancelTurn]
    assert chat.hear(asked(LOOK, "3")) == []
    assert chat.hear(questioned()) == []
    assert chat.unrecorded() == []


def test_who_cancels_a_turn_asks_nobody_any_more() -> None:
    """A refusal that ends the turn ends all that waits in it."""
    chat = Chat.begun(asked(), denies_softly=False)
    assert kinds(chat.hear(asked(SUDO, "2"))) == [talk.Settle, talk.Withdraw, talk.CancelTurn]
    assert chat.answer(decided()) == []


def test_a_new_turn_asks_anew() -> None:
    """Nothing of the one before is left."""
    chat = Chat.begun(asked(), asked(OTHER_PUSH, "2"))
    chat.answer(denied("no"))
    assert kinds(chat.hear(CANCELLED)) == [talk.Show, talk.Prompt]
    assert call_of(chat.hear(asked(OTHER_PUSH, "1"))) == OTHER_PUSH


def test_a_request_that_is_withdrawn_needs_no_decision() -> None:
    """People are told, and asked about the next one; a late decision is about nothing."""
    chat = Chat.begun(asked(), asked(OTHER_PUSH, "2"))
    withdraw, ask = chat.hear(heard.Withdrawn(request_id="1"))
    assert withdraw == talk.Withdraw("the agent waits for it no longer")
    assert call_of([ask]) == OTHER_PUSH
    assert chat.answer(decided(), chat.number - 1) == []
    assert settled(chat.answer(decided())).call == OTHER_PUSH


def test_a_late_answer_is_not_that_to_the_next_question() -> None:
    """What was decided on a call says nothing about what comes after it."""
    chat = Chat.begun(asked(), questioned())
    before = chat.number
    assert kinds(chat.hear(heard.Withdrawn(request_id="1"))) == [talk.Withdraw, talk.AskQuestion]
    assert chat.answer(decided(), before) == []


def test_a_request_that_waits_may_be_withdrawn_unasked() -> None:
    """Nobody hears of it."""
    chat = Chat.begun(asked(), asked(OTHER_PUSH, "2"))
    assert chat.hear(heard.Withdrawn(request_id="2")) == []
    assert chat.hear(heard.Withdrawn(request_id="never")) == []
    assert kinds(chat.answer(decided())) == [talk.Settle]


# --- beyond one call -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "other"),
    [
        (decided(scope=Scope.EXECUTION), OTHER_PUSH),
        (decided(scope=Scope.PATTERN, pattern="git push origin *"), OTHER_PUSH),
        (decided(scope=Scope.PATTERN, pattern="git push origin main"), PUSH),
    ],
)
def test_a_wider_approval_is_for_what_comes(answer: Decided, other: ToolCall) -> None:
    """It is not asked about again, whether it waits already or comes later."""
    chat = Chat.begun(asked(), asked(other, "2"))
    first, second = chat.answer(answer)
    assert isinstance(first, talk.Settle)
    assert isinstance(second, talk.Settle)
    allowed = (Verdict.ALLOW, f"allowance.{confirmation(1)}", None)
    assert (second.verdict, second.rule, second.confirmation_id) == allowed
    assert settled(chat.hear(asked(other, "3"))).verdict is Verdict.ALLOW


def test_a_pattern_is_no_more_than_it_says() -> None:
    """What does not fit is asked about."""
    chat = Chat.begun(asked())
    chat.answer(decided(scope=Scope.PATTERN, pattern="git push origin main"))
    assert kinds(chat.hear(asked(OTHER_PUSH, "2"))) == [talk.AskCall]


def test_consent_given_before_is_named() -> None:
    """That of an earlier execution by its confirmation, that of the project by its grant."""
    grant = Allowance(gates=[GATE], grant_id=str(confirmation(7)))
    settle = settled(Chat.begun(allowances=(grant,)).hear(asked()))
    assert (settle.verdict, settle.grant_id) == (Verdict.ALLOW, confirmation(7))
    named = replace(grant, grant_id="", confirmation_id="x")
    settle = settled(Chat.begun(allowances=(named,)).hear(asked()))
    assert (settle.rule, settle.grant_id) == ("allowance.x", None)


def test_what_the_project_consented_to_is_done() -> None:
    """Nobody is asked after all; the next call is looked up anew."""
    chat = Chat.begun(asked(), asked(OTHER_PUSH, "2"))
    settle, ask = chat.grant()
    assert isinstance(settle, talk.Settle)
    assert (settle.verdict, settle.grant_id) == (Verdict.ALLOW, confirmation(7))
    assert settle.confirmation_id is None
    assert call_of([ask]) == OTHER_PUSH
    assert chat.grant(chat.number - 1) == []


def test_consent_of_the_project_is_not_kept_here() -> None:
    """It may be revoked, or be used up, before the next call."""
    chat = Chat.begun(asked())
    chat.answer(decided(scope=Scope.PROJECT, pattern="*"))
    assert kinds(chat.hear(asked(request_id="2"))) == [talk.AskCall]


# --- approved while no process ran -----------------------------------------------------------


def test_the_approved_call_is_answered_without_asking_once() -> None:
    """The second time it is a call like any other."""
    chat = Chat.begun(resume=resume(decided()))
    settle = settled(chat.hear(asked()))
    assert (settle.verdict, settle.confirmation_id) == (Verdict.ALLOW, confirmation(9))
    assert (settle.rule, settle.gates) == (f"confirmation.{confirmation(9)}", (GATE,))
    assert kinds(chat.hear(asked(request_id="2"))) == [talk.AskCall]


def test_another_call_is_asked_about() -> None:
    """The approval is for the one it names; once people are asked anew, it is worth nothing."""
    chat = Chat.begun(resume=resume(decided()))
    assert call_of(chat.hear(asked(OTHER_PUSH))) == OTHER_PUSH
    chat.answer(decided())
    assert call_of(chat.hear(asked(request_id="2"))) == PUSH


def test_what_goes_unasked_does_not_use_it_up() -> None:
    """The agent may look round before."""
    chat = Chat.begun(asked(LOOK, "1"), resume=resume(decided()))
    assert settled(chat.hear(asked(request_id="2"))).confirmation_id == confirmation(9)


def test_a_wider_approval_is_wider_also_afterwards() -> None:
    """The process that uses it knows how far it goes."""
    chat = Chat.begun(asked(), resume=resume(decided(scope=Scope.EXECUTION)))
    settle = settled(chat.hear(asked(OTHER_PUSH, "2")))
    assert (settle.verdict, settle.confirmation_id) == (Verdict.ALLOW, None)


def test_what_was_denied_is_asked_about_again() -> None:
    """A denial was told; it allows nothing."""
    chat = Chat.begun(resume=resume(denied()))
    assert kinds(chat.hear(asked())) == [talk.AskCall]


def test_nobody_overrides_what_is_never_done() -> None:
    """Also if it was approved before the configuration said so."""
    approved = resume(decided(), call_sha256=SUDO.sha256)
    assert settled(Chat.begun(resume=approved).hear(asked(SUDO))).verdict is Verdict.DENY


def test_an_approval_that_is_void_is_asked_for_again() -> None:
    """The daemon has the last word on what may be done."""
    chat = Chat.begun(asked(), resume=resume(decided()))
    assert call_of(chat.unrecorded()) == PUSH
    assert settled(chat.answer(decided())).confirmation_id == confirmation(chat.number)


def test_what_may_not_be_done_by_the_rules_alone_is_asked_about() -> None:
    """It is never done unrecorded."""
    (ask,) = Chat.begun(asked(LOOK)).unrecorded(LOOK)
    assert isinstance(ask, talk.AskCall)
    assert (ask.judged.rule, ask.judged.gates) == ("approval.void", ["unclassified"])


def test_a_refusal_that_is_not_recorded_stays_one() -> None:
    """People are not asked about what is never done."""
    settle = settled(Chat.begun(asked(SUDO)).unrecorded(SUDO))
    assert (settle.call, settle.verdict) == (SUDO, Verdict.DENY)


def test_a_void_approval_waits_its_turn() -> None:
    """Behind what people are asked already."""
    chat = Chat.begun(asked(LOOK), asked(request_id="2"))
    assert chat.unrecorded(LOOK) == []
    assert kinds(chat.answer(decided())) == [talk.Settle, talk.Settle]


def test_who_waits_no_longer_is_not_asked_about_again() -> None:
    """Its request, or its turn, is over."""
    chat = Chat.begun(asked(LOOK), heard.Withdrawn(request_id="1"))
    assert chat.unrecorded(LOOK) == []
    assert chat.unrecorded(PUSH, "never") == []


# --- going round in circles ------------------------------------------------------------------


def test_what_fails_again_and_again_is_asked_about() -> None:
    """Though the rules allow it; an approval lets it fail as often again."""
    chat = Chat.begun(*[failed()] * (TRIES - 1))
    assert kinds(chat.hear(asked(LOOK))) == [talk.Settle]
    chat.hear(failed())
    (ask,) = chat.hear(asked(LOOK, "2"))
    assert isinstance(ask, talk.AskCall)
    assert (ask.judged.gates, ask.judged.rule) == (["budget"], "budget.loop")
    assert ask.judged.why == "this was refused or failed 3 times before"
    assert settled(chat.answer(decided())).verdict is Verdict.ALLOW
    chat.hear(*[failed()] * (TRIES - 1))
    assert kinds(chat.hear(asked(LOOK, "3"))) == [talk.Settle]


def test_a_call_fails_once() -> None:
    """Its refusal, and each time it is told to have failed, count as one."""
    chat = Chat.begun()
    for n in range(TRIES - 1):
        chat.hear(asked(PUSH, str(n), f"call-{n}"))
        chat.answer(denied())
        chat.hear(failed(PUSH, f"call-{n}"), failed(PUSH, f"call-{n}"))
    (ask,) = chat.hear(asked(PUSH, "last"))
    assert isinstance(ask, talk.AskCall)
    assert ask.judged.gates == [GATE]


def test_what_was_refused_again_and_again_says_so() -> None:
    """People see that it goes round in circles."""
    chat = Chat.begun()
    for n in range(TRIES):
        chat.hear(asked(PUSH, str(n)))
        chat.answer(denied())
    (ask,) = chat.hear(asked(PUSH, "last"))
    assert isinstance(ask, talk.AskCall)
    assert ask.judged.gates == ["budget"]


def test_other_calls_do_not_count() -> None:
    """Each has tries of its own."""
    calls = [failed(command(f"make {n}")) for n in range(TRIES)]
    assert kinds(Chat.begun(*calls).hear(asked(LOOK))) == [talk.Settle]


def test_what_is_never_done_is_refused_however_often() -> None:
    """No approval could come of asking."""
    chat = Chat.begun(*[failed(SUDO)] * TRIES)
    assert settled(chat.hear(asked(SUDO))).verdict is Verdict.DENY


# --- questions -------------------------------------------------------------------------------


def test_a_question_is_asked_and_answered() -> None:
    """In the words of whoever decided."""
    chat = Chat.begun()
    (ask,) = chat.hear(questioned())
    expected = talk.AskQuestion(number=1, text="which branch?", choices=("main", "dev"))
    assert ask == expected
    assert chat.answer(decided(reason="dev")) == [
        talk.Reply(request_id="q", question="which branch?", text="dev", by="ann")
    ]


@pytest.mark.parametrize(
    ("answer", "text", "verdict", "by"),
    [
        (decided(), "yes", Verdict.ALLOW, "ann"),
        (CHANGES, "push to a branch", Verdict.ALLOW, "ann"),
        (denied(), "no", Verdict.DENY, "ann"),
        (
            decided(Decision.DENY, expired=True),
            "nobody answered in time",
            Verdict.DENY,
            "nobody",
        ),
        (replace(decided(), by=""), "yes", Verdict.ALLOW, "user"),
    ],
)
def test_every_decision_is_an_answer(answer: Decided, text: str, verdict: Verdict, by: str) -> None:
    """Also one without words, and also that nobody decided."""
    (reply,) = Chat.begun(questioned()).answer(answer)
    assert isinstance(reply, talk.Reply)
    assert (reply.text, reply.verdict, reply.by) == (text, verdict, by)


def test_why_there_is_no_answer_reaches_the_agent() -> None:
    """As with a call: in a turn of its own."""
    chat = Chat.begun(questioned())
    reply, cancel = chat.answer(denied("decide yourself"))
    assert isinstance(reply, talk.Reply)
    assert (reply.quiet, cancel) == (True, talk.CancelTurn())
    assert "decide yourself" in prompt(chat.hear(CANCELLED))


def test_another_agent_answers_first() -> None:
    """As often as it may; then people are asked."""
    chat = Chat.begun(proxy="claude", proxy_answers=1)
    consult = talk.Consult(number=1, question="which branch?")
    assert chat.hear(questioned()) == [consult]
    assert chat.proxy("main") == [
        talk.Reply(request_id="q", question="which branch?", text="main", by="proxy:claude")
    ]
    assert kinds(chat.hear(questioned("r"))) == [talk.AskQuestion]


def test_people_are_asked_when_it_does_not_know() -> None:
    """Nothing else is asked while it thinks."""
    chat = Chat.begun(questioned(), proxy="claude", proxy_answers=3)
    assert chat.hear(asked()) == []
    assert chat.conversation.phase is Phase.TURN
    assert kinds(chat.proxy(None)) == [talk.AskQuestion]
    assert kinds(chat.answer(decided(reason="dev"))) == [talk.Reply, talk.AskCall]


def test_its_answer_is_not_that_to_another_question() -> None:
    """The one it was asked may be withdrawn, or its turn over."""
    chat = Chat.begun(questioned(), questioned("r"), proxy="claude", proxy_answers=2)
    first = chat.number
    assert kinds(chat.hear(heard.Withdrawn(request_id="q"))) == [talk.Consult]
    assert chat.proxy("main", first) == []
    assert kinds(chat.proxy("dev")) == [talk.Reply]
    assert chat.proxy("dev") == []


def test_calls_wait_only_as_long_as_it_thinks() -> None:
    """Withdrawn or answered, the next one's turn has come."""
    chat = Chat.begun(questioned(), asked(), proxy="claude", proxy_answers=1)
    assert kinds(chat.hear(heard.Withdrawn(request_id="q"))) == [talk.AskCall]


def test_the_rules_decide_without_people() -> None:
    """However many requests wait, nothing that may be done waits with them."""
    chat = Chat.begun(*[asked(PUSH, str(n)) for n in range(50)], rules=RULES)
    effects = chat.answer(decided(scope=Scope.EXECUTION))
    assert kinds(effects) == [talk.Settle] * 50
