"""The rules of a conversation with an ACP agent, one by one."""

from __future__ import annotations

import pytest

from events.calls import CallKind, Verdict
from events.task import Usage
from pandar_daemon.adapters.agents.acp import HELLO
from pandar_daemon.adapters.agents.quirks import Quirks
from pandar_daemon.domain.hearing import (
    Asked,
    Called,
    CallStatus,
    Ready,
    Said,
    Stop,
    TurnEnded,
    Used,
    Withdrawn,
)
from tests.support.acp_lines import (
    CANCELLED,
    PROMPT_ID,
    SESSION,
    USAGE,
    asks,
    began,
    driver,
    ended,
    failed,
    heard,
    hello,
    line,
    messages,
    prompted,
    ready,
    said,
    update,
    wrote,
)

PUSH = {
    "toolCallId": "c1",
    "title": "git push",
    "kind": "execute",
    "rawInput": {"command": "git push"},
}
SPENT = Usage(input_tokens=800, output_tokens=84, cached_tokens=1400)


def test_says_hello_first() -> None:
    """It begins with the version and with what it can do: no files, no terminals, but forms."""
    (message,) = messages(driver().open("/srv"))
    assert (message["method"], message["params"]) == ("initialize", HELLO)
    capabilities = message["params"]["clientCapabilities"]
    assert capabilities["fs"] == {"readTextFile": False, "writeTextFile": False}
    assert capabilities["terminal"] is False


def test_begins_a_session() -> None:
    """After hello it begins a session where it is to work, and is ready."""
    made = driver()
    made.open("/srv")
    (message,) = wrote(made, hello())
    assert message["method"] == "session/new"
    assert message["params"] == {"cwd": "/srv", "mcpServers": []}
    assert heard(made, began()) == [Ready(session_id=SESSION)]


def test_loads_an_earlier_session() -> None:
    """A named session is loaded by an agent that can, and what it repeats is not heard."""
    made = driver()
    made.open("/srv", "old")
    (message,) = wrote(made, hello(loadSession=True))
    assert message["method"] == "session/load"
    assert message["params"]["sessionId"] == "old"
    assert heard(made, said("long ago"), update("tool_call", **PUSH)) == []
    assert heard(made, line(id=2, result=None)) == [Ready(session_id="old", loaded=True)]


def test_begins_anew_when_loading_fails() -> None:
    """A session that cannot be loaded becomes a new one, and that is told."""
    made = driver()
    made.open("/srv", "old")
    made.receive(hello(loadSession=True))
    (message,) = wrote(made, line(id=2, error={"code": -32002, "message": "no such session"}))
    assert message["method"] == "session/new"
    begun = line(id=3, result={"sessionId": "new"})
    assert heard(made, begun) == [Ready(session_id="new", loaded=False)]


def test_does_not_load_with_an_agent_that_cannot() -> None:
    """An agent without the capability is not asked to load."""
    made = driver()
    made.open("/srv", "old")
    assert wrote(made, hello(loadSession=False))[0]["method"] == "session/new"


@pytest.mark.parametrize("verb", ["before it is ready", "during a turn"])
def test_is_prompted_once_at_a_time(verb: str) -> None:
    """A prompt before the agent is ready, or during a turn, is a mistake of the caller."""
    made = driver() if verb == "before it is ready" else prompted()
    with pytest.raises(RuntimeError, match="once at a time"):
        made.prompt("Now.")


def test_prompts() -> None:
    """A prompt carries the text and the session."""
    (message,) = messages(ready().prompt("Do it."))
    assert message["id"] == PROMPT_ID
    said = {"sessionId": SESSION, "prompt": [{"type": "text", "text": "Do it."}]}
    assert message["params"] == said


def test_hears_words_and_thoughts() -> None:
    """What it writes is heard as it comes, thoughts apart."""
    thought = update("agent_thought_chunk", content={"type": "text", "text": "hm"})
    assert heard(prompted(), said("Hi "), thought, said("you")) == [
        Said(text="Hi "),
        Said(text="hm", thought=True),
        Said(text="you"),
    ]


@pytest.mark.parametrize(
    "told",
    [
        update("plan", entries=[]),
        update("available_commands_update", availableCommands=[]),
        update("user_message_chunk", content={"type": "text", "text": "Do it."}),
        update("something_new", content=3),
        update("agent_message_chunk", content={"type": "image", "data": "…"}),
        update("agent_message_chunk", content=None),
        update("usage_update", used=3, size=9),
        line(method="session/update", params=[]),
        line(method="session/update"),
        line(method="_vendor/status", params={"a": 1}),
    ],
)
def test_passes_over_what_does_not_matter(told: bytes) -> None:
    """Kinds of updates that nobody needs, or that nobody knows, are no error."""
    made = prompted()
    assert heard(made, told) == []
    assert heard(made, said("on")) == [Said(text="on")]


def test_hears_a_call_once_a_change() -> None:
    """A call is heard when it begins and when something about it changed."""
    made = prompted()
    begin, repeat = update("tool_call", **PUSH), update("tool_call_update", toolCallId="c1")
    over = update("tool_call_update", toolCallId="c1", status="completed", rawOutput="pushed")
    first, last = heard(made, begin, repeat, over)
    assert isinstance(first, Called)
    assert isinstance(last, Called)
    assert first.status is CallStatus.PENDING
    assert (last.status, last.output, last.call) == (CallStatus.DONE, "pushed", first.call)


def test_asks_with_what_was_told_before() -> None:
    """A request may carry an id alone; its intent is what the agent said last."""
    made = prompted()
    made.receive(said("I will push now. ") + update("tool_call", **PUSH))
    (asked,) = heard(made, asks(7, {"toolCallId": "c1"}))
    assert isinstance(asked, Asked)
    assert (asked.request_id, asked.call_id, asked.intent) == ("7", "c1", "I will push now.")
    assert (asked.call.command, asked.call.kind) == ("git push", CallKind.EXECUTE)


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        (Verdict.ALLOW, {"outcome": "selected", "optionId": "yes"}),
        (Verdict.DENY, {"outcome": "selected", "optionId": "no"}),
        (Verdict.ASK, {"outcome": "cancelled"}),
    ],
)
def test_answers_by_kind(verdict: Verdict, outcome: dict[str, str]) -> None:
    """The option is chosen by its kind; nobody answering is ``cancelled``."""
    made = prompted()
    made.receive(asks("q", PUSH))
    (message,) = messages(made.answer('"q"', verdict, "because"))
    assert message == {"jsonrpc": "2.0", "id": "q", "result": {"outcome": outcome}}


@pytest.mark.parametrize("verdict", [Verdict.ALLOW, Verdict.DENY])
def test_never_answers_always(verdict: Verdict) -> None:
    """Without an option for this once, nothing is selected."""
    made = prompted()
    kinds = ("allow_always", "reject_always", "unknown")
    made.receive(asks(7, PUSH, [{"optionId": kind, "kind": kind} for kind in kinds]))
    assert messages(made.answer("7", verdict))[0]["result"] == CANCELLED


def test_answers_once() -> None:
    """A second answer, and one to what was never asked, is nothing."""
    made = prompted()
    made.receive(asks(7, PUSH))
    assert made.answer("7", Verdict.ALLOW)
    assert made.answer("7", Verdict.DENY) == b""
    assert made.answer("8", Verdict.ALLOW) == b""


@pytest.mark.parametrize(
    ("quirks", "supported", "told"),
    [(Quirks(steers=True), True, 2), (Quirks(steers=True), False, 1), (Quirks(), True, 1)],
)
def test_steers_with_a_reason(quirks: Quirks, *, supported: bool, told: int) -> None:
    """Why something is denied is said within the turn to who can hear it there."""
    made = driver(quirks)
    made.open("/srv")
    meta = {"steering": {"supported": supported}}
    made.receive(line(id=1, result={"protocolVersion": 1, "_meta": meta}) + began())
    made.prompt("Do it.")
    made.receive(asks(7, PUSH))
    written = messages(made.answer("7", Verdict.DENY, "use a branch"))
    assert len(written) == told
    if told == 2:
        assert written[1]["method"] == "_session/steering"
        assert written[1]["params"]["prompt"] == [{"type": "text", "text": "use a branch"}]
        late = line(id=written[1]["id"], error={"code": -1, "message": "too late"})
        assert heard(made, late) == []


def test_hears_a_withdrawal() -> None:
    """What the agent takes back is over, and still answered, as the protocol wants."""
    made = prompted()
    made.receive(asks(7, PUSH))
    withdrawal = line(method="$/cancel_request", params={"requestId": 7})
    told, out = made.receive(withdrawal)
    assert told == [Withdrawn(request_id="7")]
    assert messages(out) == [{"jsonrpc": "2.0", "id": 7, "result": CANCELLED}]
    assert made.answer("7", Verdict.ALLOW) == b""
    assert heard(made, withdrawal) == []


def test_cancels_after_answering() -> None:
    """Every open request is answered before the turn is cancelled."""
    made = prompted()
    made.receive(asks(7, PUSH) + asks("8", PUSH))
    first, second, last = messages(made.cancel())
    assert (first["id"], first["result"]) == (7, CANCELLED)
    assert (second["id"], second["result"]) == ("8", CANCELLED)
    assert (last["method"], last["params"]) == ("session/cancel", {"sessionId": SESSION})


def test_asks_nothing_in_a_cancelled_turn() -> None:
    """What it asks after that is answered at once, and nobody hears of it."""
    made = prompted()
    made.cancel()
    told, out = made.receive(asks(7, PUSH))
    assert told == []
    assert messages(out)[0]["result"] == CANCELLED


def test_cancels_nothing_without_a_turn() -> None:
    """Between turns there is nothing to cancel."""
    assert ready().cancel() == b""


def test_refuses_what_it_does_not_offer() -> None:
    """A request nobody knows is refused, not left open."""
    (message,) = wrote(prompted(), line(id=9, method="fs/read_text_file", params={"path": "/x"}))
    assert (message["id"], message["error"]["code"]) == (9, -32601)


def test_ends_a_turn() -> None:
    """A turn that went well tells what was consumed; the next can begin."""
    made = prompted()
    usage = [Used(usage=SPENT), TurnEnded(stop=Stop.DONE, usage=SPENT)]
    assert heard(made, ended()) == usage
    assert made.prompt("More.")


def test_sums_the_turns_of_a_session() -> None:
    """Consumption adds up over turns, the cost is the session's."""
    made = prompted()
    cost = update("usage_update", used=1, size=9, cost={"amount": 0.25, "currency": "USD"})
    made.receive(cost + ended())
    made.prompt("More.")
    _, end = heard(made, line(id=4, result={"stopReason": "end_turn", "usage": USAGE}))
    assert isinstance(end, TurnEnded)
    assert end.usage == Usage(
        input_tokens=1600, output_tokens=168, cached_tokens=2800, cost_usd=0.25
    )


def test_a_failure_after_cancelling_is_a_cancellation() -> None:
    """Some agents answer a cancelled prompt with an error."""
    made = prompted()
    made.cancel()
    (end,) = heard(made, failed("aborted"))
    assert isinstance(end, TurnEnded)
    assert (end.stop, end.error) == (Stop.CANCELLED, "aborted")
