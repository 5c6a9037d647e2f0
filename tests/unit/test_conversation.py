"""The rules of a conversation with an agent, by example: signals in, effects out."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from events.calls import CallKind, ToolCall
from events.commands import Decision
from events.running import Outcome
from events.task import FailureKind, Usage
from pandar_daemon.domain import hearing as heard
from pandar_daemon.domain import talking as talk
from pandar_daemon.domain.conversation import CANCEL_SEC, Phase
from tests.support.talks import (
    CANCELLED,
    DONE,
    LATER,
    PUSH,
    Chat,
    asked,
    cost,
    decided,
    denied,
    kinds,
    over,
    prompt,
    questioned,
    resume,
)

READY = heard.Ready(session_id="s-1")
LOADED = heard.Ready(session_id="s-1", loaded=True)

# --- the beginning ---------------------------------------------------------------------------


def test_it_begins_with_the_task() -> None:
    """Its name for the session is recorded first, for whoever has to go on with it."""
    assert Chat().hear(READY) == [talk.Name("s-1"), talk.Prompt("tidy up")]


def test_it_begins_once() -> None:
    """An agent that says again that it is ready is told nothing again."""
    assert Chat.begun().hear(READY) == []


def test_an_agent_without_sessions_is_not_named() -> None:
    """There is nothing to go on with."""
    assert kinds(Chat().hear(heard.Ready())) == [talk.Prompt]


def test_a_session_that_was_interrupted_goes_on() -> None:
    """It knows the task: it is told that it was interrupted, and nothing is recorded."""
    effects = Chat(resume=resume()).hear(LOADED)
    assert kinds(effects) == [talk.Name, talk.Show, talk.Prompt]
    assert "You were interrupted" in prompt(effects)
    assert "tidy up" not in prompt(effects)


def test_an_approval_is_told_and_heard_when_it_is_used() -> None:
    """Nothing is recorded yet: should this process be lost, the next one is told as well."""
    effects = Chat(resume=resume(decided())).hear(LOADED)
    assert kinds(effects) == [talk.Name, talk.Show, talk.Prompt]
    assert "Your request was approved:\n\ngit push origin main" in prompt(effects)


def test_a_denial_is_told_once() -> None:
    """It is recorded as heard, so that no other process is told."""
    effects = Chat(resume=resume(denied("not on a Friday"))).hear(LOADED)
    told = talk.Reply(request_id="", question=PUSH.command, text="not on a Friday", by="ann")
    assert effects[1] == told
    assert "Your request was denied (not on a Friday)" in prompt(effects)


def test_an_answer_is_told_once() -> None:
    """What was asked while another process ran is answered by this one's first words."""
    answer = resume(decided(reason="main"), gate="question", what="which branch?", call_sha256="")
    effects = Chat(resume=answer).hear(LOADED)
    assert effects[1] == talk.Reply(request_id="", question="which branch?", text="main", by="ann")
    assert "Your question was answered: main" in prompt(effects)


def test_a_session_that_could_not_be_loaded_is_told_everything() -> None:
    """The task, how it ended before, and what was decided since."""
    text = prompt(Chat(resume=resume(denied())).hear(READY))
    assert [part in text for part in ("tidy up", "the end of what it said", "denied")] == [True] * 3


def test_who_never_becomes_ready_is_given_up() -> None:
    """Who is, has all the time it takes."""
    failed = over(Chat().tell(talk.Unready(at=120.0)))
    assert failed.error == "the agent was not ready within 120 s"
    assert Chat.begun().tell(talk.Unready(at=120.0)) == []


# --- what it says ----------------------------------------------------------------------------


def test_what_it_says_is_shown() -> None:
    """Its thoughts are not, nor is nothing."""
    chat = Chat.begun()
    assert chat.hear(heard.Said(text="Hello\n")) == [talk.Show("Hello\n")]
    assert chat.hear(heard.Said(text="hm", thought=True)) == []
    assert chat.hear(heard.Said(text="")) == []


def test_its_calls_are_shown() -> None:
    """What it does, what came of that, and that it failed."""
    call = ToolCall(kind=CallKind.EXECUTE, command="make", cwd="/w")
    called = heard.Called(call_id="c", call=call)
    chat = Chat.begun()
    assert chat.hear(called) == [talk.Show("\n» execute: make\n")]
    done = replace(called, status=heard.CallStatus.DONE, output="ok\n\n")
    assert chat.hear(done) == [talk.Show("ok\n")]
    assert chat.hear(replace(done, output="")) == []
    failed = replace(done, status=heard.CallStatus.FAILED, output="no\n")
    assert chat.hear(failed) == [talk.Show("no\n(failed)\n")]


# --- the end ---------------------------------------------------------------------------------


def test_it_completes() -> None:
    """It says that it is done, and told what it consumed."""
    assert Chat.begun().hear(DONE) == [
        talk.Conclude(outcome=Outcome.COMPLETED, usage=Usage(input_tokens=10, output_tokens=1))
    ]


def test_a_turn_that_cost_nothing_is_no_success() -> None:
    """Unless the agent is one that never tells."""
    silent = heard.TurnEnded(stop=heard.Stop.DONE)
    failed = over(Chat.begun().hear(silent))
    assert (failed.outcome, failed.kind) == (Outcome.FAILED, FailureKind.AGENT)
    assert "told of no usage" in failed.error
    assert over(Chat.begun(tells_usage=False).hear(silent)).outcome is Outcome.COMPLETED


@pytest.mark.parametrize(
    ("ended", "kind", "error"),
    [
        (
            heard.TurnEnded(stop=heard.Stop.CANCELLED),
            FailureKind.AGENT,
            "the agent cancelled its own turn",
        ),
        (
            heard.TurnEnded(stop=heard.Stop.REFUSED),
            FailureKind.AGENT,
            "the model refused to go on",
        ),
        (
            heard.TurnEnded(stop=heard.Stop.LIMIT, error="max_tokens"),
            FailureKind.AGENT,
            "the agent ran into a limit of its own: max_tokens",
        ),
        (
            heard.TurnEnded(stop=heard.Stop.FAILED, error="529", fault=heard.Fault.MODEL),
            FailureKind.MODEL,
            "the agent's turn failed: 529",
        ),
        (
            heard.TurnEnded(stop=heard.Stop.FAILED, error="used up", fault=heard.Fault.QUOTA),
            FailureKind.QUOTA,
            "the agent's turn failed: used up",
        ),
        (heard.Broken(error="demo ended"), FailureKind.AGENT, "demo ended"),
        (heard.Broken(error="no key", fault=heard.Fault.MODEL), FailureKind.MODEL, "no key"),
    ],
)
def test_it_fails(ended: heard.Heard, kind: FailureKind, error: str) -> None:
    """Every other end is a failure that is named, with what was consumed until then."""
    spent = Usage(cost_usd=0.5)
    assert Chat.begun(heard.Used(usage=spent)).hear(ended) == [
        talk.Conclude(outcome=Outcome.FAILED, kind=kind, error=error, usage=spent)
    ]


def test_a_quota_that_comes_back_is_a_pause() -> None:
    """It goes on by itself when the provider says so."""
    ended = heard.TurnEnded(
        stop=heard.Stop.FAILED, error="used up", fault=heard.Fault.QUOTA, retry_at=LATER
    )
    paused = over(Chat.begun().hear(ended))
    assert (paused.outcome, paused.until, paused.error) == (Outcome.PAUSED, LATER, "used up")


def test_it_may_break_before_it_began() -> None:
    """Then nothing was asked of it."""
    assert over(Chat().hear(heard.Broken(error="gone"))).error == "gone"


def test_what_cannot_be_recorded_does_not_go_on() -> None:
    """Nothing an agent does stays off the record."""
    failed = over(Chat.begun().tell(talk.Unstorable(at=1.0, error="too large")))
    assert failed.error == "it cannot be recorded: too large"


def test_after_the_end_nothing_happens() -> None:
    """Whatever is still on its way."""
    chat = Chat.begun(asked())
    chat.hear(heard.Broken(error="gone"))
    assert chat.conversation.phase is Phase.OVER
    assert not any(
        [
            chat.hear(READY, heard.Said(text="x"), asked(), questioned(), DONE, cost(1)),
            chat.answer(decided()),
            chat.proxy("x"),
            chat.unrecorded(),
            chat.wait(1_000.0),
            chat.tell(talk.ParkNow(at=1.0)),
        ]
    )


# --- parking ---------------------------------------------------------------------------------


def test_who_waits_is_parked_in_time() -> None:
    """After so long, counted from when people were asked; they still are."""
    chat = Chat.begun(asked())
    assert chat.conversation.phase is Phase.WAITING
    assert chat.wait(59.0) == []
    assert chat.wait(1.0) == [talk.Conclude(outcome=Outcome.PARKED)]


def test_only_who_waits_is_parked() -> None:
    """Neither an agent at work, nor one whose question was answered."""
    chat = Chat.begun()
    assert chat.wait(1_000.0) == []
    chat.hear(asked())
    chat.answer(decided())
    assert chat.wait(1_000.0) == []


def test_a_runner_that_goes_down_parks_who_waits() -> None:
    """At once."""
    assert Chat.begun(asked()).tell(talk.ParkNow(at=1.5)) == [talk.Conclude(outcome=Outcome.PARKED)]


def test_a_runner_that_goes_down_parks_who_will_wait() -> None:
    """At the first look after people were asked."""
    chat = Chat.begun()
    assert chat.tell(talk.ParkNow(at=1.5)) == []
    assert kinds(chat.hear(asked())) == [talk.AskCall]
    assert over(chat.wait(0.0)).outcome is Outcome.PARKED


def test_who_dies_while_people_decide_is_parked() -> None:
    """They need not begin anew; at work it is a failure."""
    gone = heard.Broken(error="demo ended in the middle of a turn")
    assert Chat.begun(asked()).tell(talk.Ended(at=2.0, heard=gone)) == [
        talk.Conclude(outcome=Outcome.PARKED)
    ]
    failed = over(Chat.begun().tell(talk.Ended(at=2.0, heard=gone)))
    assert (failed.kind, failed.error) == (FailureKind.AGENT, gone.error)


def test_who_breaks_its_protocol_while_people_decide_is_not() -> None:
    """It would do so again."""
    broken = heard.Broken(error="demo broke its protocol")
    assert kinds(Chat.begun(asked()).hear(broken)) == [talk.Withdraw, talk.Conclude]


# --- money -----------------------------------------------------------------------------------


def test_who_spends_too_much_is_stopped_and_asked_about() -> None:
    """First the turn ends, then people are asked, once."""
    chat = Chat.begun(max_cost_usd=1.0)
    assert chat.hear(cost(0.99)) == []
    assert chat.hear(cost(1.0)) == [talk.CancelTurn()]
    assert chat.hear(cost(1.1)) == []
    (ask,) = chat.hear(CANCELLED)
    assert isinstance(ask, talk.AskBudget)
    assert (ask.why, ask.spent) == ("it has cost 1.10 USD of 1", Usage(cost_usd=1.1))


def test_more_money_lets_it_go_on() -> None:
    """As much again, with what somebody had to say; then it is stopped again."""
    chat = Chat.begun(cost(1.0), CANCELLED, max_cost_usd=1.0)
    told, shown, said = chat.answer(decided(reason="be quick"))
    assert told == talk.Reply(
        request_id="", question="it has cost 1.00 USD of 1", text="be quick", by="ann"
    )
    assert shown == talk.Show("\n« You may go on where you stopped. be quick\n")
    assert said == talk.Prompt("You may go on where you stopped. be quick")
    assert chat.hear(cost(1.9)) == []
    assert chat.hear(cost(2.0)) == [talk.CancelTurn()]


def test_no_more_money_is_the_end() -> None:
    """A failure of its own kind, which no other agent is asked to mend."""
    failed = over(Chat.begun(cost(1.0), CANCELLED, max_cost_usd=1.0).answer(denied()))
    assert (failed.kind, failed.error) == (FailureKind.BUDGET, "it has cost 1.00 USD of 1")


def test_who_is_done_needs_no_more_money() -> None:
    """Though it was told to stop."""
    chat = Chat.begun(cost(1.0), max_cost_usd=1.0)
    ended = heard.TurnEnded(stop=heard.Stop.DONE, usage=Usage(cost_usd=1.2))
    assert over(chat.hear(ended)).outcome is Outcome.COMPLETED


def test_who_does_not_stop_is_given_up() -> None:
    """Nobody burns money by not listening."""
    chat = Chat.begun(cost(1.0), max_cost_usd=1.0)
    assert chat.wait(CANCEL_SEC - 1.0) == []
    failed = over(chat.wait(1.0))
    assert (failed.kind, failed.error) == (
        FailureKind.BUDGET,
        "the agent went on for 30 s after it was told to stop",
    )


def test_what_earlier_executions_spent_counts() -> None:
    """When all is spent, nothing is said to the agent before there is more."""
    chat = Chat(spent=Usage(cost_usd=3.0), max_cost_usd=1.0)
    assert kinds(chat.hear(READY)) == [talk.AskBudget]
    effects = chat.answer(decided())
    assert kinds(effects) == [talk.Reply, talk.Name, talk.Prompt]
    assert prompt(effects) == "tidy up"
    assert chat.hear(cost(0.9)) == []


def test_money_that_was_allowed_meanwhile_is_there() -> None:
    """An approval counts also for the process that comes after the one that asked."""
    more = resume(decided(), gate="budget", call_sha256="", what="")
    chat = Chat(resume=more, spent=Usage(cost_usd=1.0), max_cost_usd=1.0)
    effects = chat.hear(LOADED)
    assert kinds(effects) == [talk.Name, talk.Reply, talk.Show, talk.Prompt]
    assert "You may go on" in prompt(effects)
    assert chat.hear(cost(0.9)) == []


def test_money_that_was_refused_meanwhile_is_not() -> None:
    """The process that comes after the one that asked ends at once."""
    no = resume(denied(), gate="budget", call_sha256="", what="")
    failed = over(Chat(resume=no, spent=Usage(cost_usd=1.0), max_cost_usd=1.0).hear(LOADED))
    assert failed.kind is FailureKind.BUDGET


def test_what_it_asks_between_two_turns_is_asked_later() -> None:
    """After people decided whether it may go on at all."""
    chat = Chat.begun(cost(1.0), CANCELLED, max_cost_usd=1.0)
    assert chat.hear(asked()) == []
    assert kinds(chat.answer(decided())) == [talk.Reply, talk.Show, talk.Prompt, talk.AskCall]


# --- people ----------------------------------------------------------------------------------


def test_when_people_cannot_be_asked_it_fails() -> None:
    """It does not wait for ever for nobody."""
    chat = Chat.begun(asked())
    failed = over(chat.tell(talk.Unasked(at=2.0, number=chat.number, error="409")))
    assert failed.error == "people could not be asked: 409"


def test_an_answer_to_another_question_is_none() -> None:
    """Nor is a decision that is not one yet."""
    chat = Chat.begun(asked())
    assert chat.answer(decided(), chat.number - 1) == []
    assert chat.answer(decided(), chat.number + 1) == []
    assert chat.answer(replace(denied(), decision=None)) == []
    late = talk.Unasked(at=2.0, number=chat.number + 1, error="409")
    assert chat.tell(late) == []
    assert chat.conversation.phase is Phase.WAITING


def test_the_gate_of_a_budget_is_decided_like_any_other() -> None:
    """Changes are words to go on with."""
    chat = Chat.begun(cost(1.0), CANCELLED, max_cost_usd=1.0)
    effects = chat.answer(decided(Decision.CHANGES, "only the tests"))
    assert prompt(effects) == "You may go on where you stopped. only the tests"


def test_the_rest_of_the_turn_is_forgotten_with_it() -> None:
    """Who ends its turn waits for nothing any more, and people need not decide."""
    chat = Chat.begun(asked(), questioned())
    assert kinds(chat.hear(DONE)) == [talk.Withdraw, talk.Conclude]
