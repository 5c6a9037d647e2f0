"""The rules of a conversation with Codex in its own protocol."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from events.task import Usage
from pandar_daemon.adapters.agents.codex_app_server import FENCE, TERMS, CodexDriver
from pandar_daemon.domain.hearing import (
    Broken,
    Called,
    CallStatus,
    Fault,
    Heard,
    Ready,
    Said,
    Stop,
    TurnEnded,
    Used,
)
from tests.support.acp_lines import messages
from tests.support.codex_lines import (
    THREAD,
    TURN,
    asks,
    completed,
    driver,
    item,
    line,
    note,
    prompted,
    ready,
    used,
)

RUN = {"itemId": "i1", "command": "/bin/bash -lc 'git push'", "cwd": "/srv", "reason": "Push it"}
COMMAND = "item/commandExecution/requestApproval"


def heard(made: CodexDriver, *lines: bytes) -> list[Heard]:
    """Return what is heard of these lines."""
    return list(made.receive(b"".join(lines))[0])


def test_begins_a_thread() -> None:
    """Hello, then a thread whose approvals come to us."""
    made = driver()
    (hello,) = messages(made.open("/srv"))
    assert hello["method"] == "initialize"
    initialized, start = messages(made.receive(line(id=1, result={}))[1])
    assert initialized["method"] == "initialized"
    assert (start["method"], start["params"]) == (
        "thread/start",
        {"cwd": "/srv", **TERMS, **FENCE},
    )
    assert TERMS["approvalsReviewer"] == "user"
    told = heard(made, line(id=2, result={"thread": {"id": THREAD}}))
    assert told == [Ready(session_id=THREAD, loaded=False)]


def test_in_a_box_its_configuration_counts() -> None:
    """It asks for no sandbox of its own, which could not be made there."""
    made = CodexDriver(lambda: datetime.now(UTC), boxed=True)
    made.open("/srv")
    _, start = messages(made.receive(line(id=1, result={}))[1])
    assert start["params"] == {"cwd": "/srv", **TERMS}


@pytest.mark.parametrize("found", [True, False])
def test_resumes_a_thread(*, found: bool) -> None:
    """An earlier thread is resumed; one that cannot be becomes a new one."""
    made = driver()
    made.open("/srv", "old")
    _, resume = messages(made.receive(line(id=1, result={}))[1])
    assert (resume["method"], resume["params"]["threadId"]) == ("thread/resume", "old")
    if found:
        assert heard(made, line(id=2, result={"thread": {"id": "old"}})) == [
            Ready(session_id="old", loaded=True)
        ]
        return
    (start,) = messages(made.receive(line(id=2, error={"code": -1, "message": "no"}))[1])
    assert start["method"] == "thread/start"


def test_a_refused_beginning_is_told() -> None:
    """What Codex cannot begin with is named."""
    made = driver()
    made.open("/srv")
    told = heard(made, line(id=1, error={"code": -1, "message": "bad config"}))
    assert told == [Broken(error="codex cannot begin: bad config")]


def test_a_thread_needs_a_name() -> None:
    """A thread has to have a name that can be kept."""
    made = driver()
    made.open("/srv")
    told = heard(made, line(id=1, result={}), line(id=2, result={"thread": {}}))
    assert told == [Broken(error="codex began a session without a usable name")]


@pytest.mark.parametrize("made", [driver(), prompted()])
def test_is_prompted_once_at_a_time(made: CodexDriver) -> None:
    """A prompt before it is ready, or during a turn, is a mistake of the caller."""
    with pytest.raises(RuntimeError, match="once at a time"):
        made.prompt("Now.")


def test_hears_words_thoughts_and_calls() -> None:
    """What happens in our thread is heard, and nothing of other threads."""
    other = line(method="item/agentMessage/delta", params={"threadId": "x", "delta": "no"})
    run = {"type": "commandExecution", "id": "i1", "command": "ls", "cwd": "/srv"}
    told = heard(
        prompted(),
        note("item/agentMessage/delta", delta="Hi"),
        note("item/reasoning/textDelta", delta="hm"),
        other,
        note("turn/plan/updated", plan=[]),
        item("started", type="agentMessage", id="m", text="Hi"),
        item("started", status="inProgress", **run),
        item("completed", status="completed", aggregatedOutput="a\n", **run),
    )
    assert told[:2] == [Said(text="Hi"), Said(text="hm", thought=True)]
    first, last = told[2:]
    assert isinstance(first, Called)
    assert isinstance(last, Called)
    assert (first.status, first.call.command) == (CallStatus.RUNNING, "ls")
    assert (last.status, last.output) == (CallStatus.DONE, "a\n")


def test_cancels() -> None:
    """What is open is answered first, then the turn is interrupted."""
    made = prompted()
    made.receive(asks(7, COMMAND, **RUN))
    first, last = messages(made.cancel())
    assert (first["id"], first["result"]) == (7, {"decision": "cancel"})
    assert last["method"] == "turn/interrupt"
    assert last["params"] == {"threadId": THREAD, "turnId": TURN}
    (end,) = heard(made, completed("interrupted"))
    assert end == TurnEnded(stop=Stop.CANCELLED)


def test_cancels_a_turn_that_has_no_name_yet() -> None:
    """It is interrupted as soon as its name is known, once."""
    made = ready()
    made.prompt("Do it.")
    assert made.cancel() == b""
    turn = {"id": TURN, "status": "inProgress", "items": []}
    _, out = made.receive(note("turn/started", turn=turn) + line(id=3, result={"turn": turn}))
    assert [message["method"] for message in messages(out)] == ["turn/interrupt"]


def test_counts_what_is_ours() -> None:
    """Input leaves out what was cached; what an earlier process consumed does not count."""
    made = prompted()
    told = heard(made, used(1_500, 500), used(2_000, 500), completed())
    spent = Usage(input_tokens=500, output_tokens=100, cached_tokens=500, thought_tokens=0)
    assert told[1:] == [Used(usage=spent), TurnEnded(stop=Stop.DONE, usage=spent)]


def test_counts_from_where_it_resumed() -> None:
    """What is told before a prompt is what was there before."""
    made = ready()
    assert heard(made, used(1_000, 100)) == []
    made.prompt("Do it.")
    (told,) = heard(made, used(1_400, 200))
    assert told == Used(
        usage=Usage(input_tokens=200, output_tokens=40, cached_tokens=200, thought_tokens=0)
    )


def test_a_turn_without_consumption_says_so() -> None:
    """A turn in which nothing was consumed has no usage."""
    assert heard(prompted(), completed()) == [TurnEnded(stop=Stop.DONE)]


def test_a_failed_turn_failed() -> None:
    """The error of the turn, whose fault it is, and a retry on the way."""
    info = {"responseStreamDisconnected": {"httpStatusCode": 529}}
    error = {"message": "Reconnecting", "additionalDetails": "529", "codexErrorInfo": info}
    thought, end = heard(
        prompted(),
        note("error", error=error, willRetry=True, turnId=TURN),
        completed("failed", message="unexpected status 529", codexErrorInfo=info),
    )
    assert thought == Said(text="Reconnecting: 529\n", thought=True)
    assert end == TurnEnded(stop=Stop.FAILED, error="unexpected status 529", fault=Fault.MODEL)


def test_a_used_up_quota_comes_back() -> None:
    """The time a limit resets was told before."""
    limits = {"primary": {"usedPercent": 100, "resetsAt": 1772380800}}
    end = heard(
        prompted(),
        line(method="account/rateLimits/updated", params={"rateLimits": limits}),
        completed("failed", message="usage limit", codexErrorInfo="usageLimitExceeded"),
    )[-1]
    assert isinstance(end, TurnEnded)
    assert (end.fault, end.retry_at) == (Fault.QUOTA, datetime.fromtimestamp(1772380800, UTC))


def test_a_turn_that_cannot_start_failed() -> None:
    """A refused prompt is a failed turn, not a broken agent."""
    made = ready()
    made.prompt("Do it.")
    (end,) = heard(made, line(id=3, error={"code": -1, "message": "no model"}))
    assert end == TurnEnded(stop=Stop.FAILED, error="no model")


def test_ends() -> None:
    """When it ends in a turn, it is broken."""
    assert heard(prompted(), b"") == [Broken(error="codex ended in the middle of a turn")]
