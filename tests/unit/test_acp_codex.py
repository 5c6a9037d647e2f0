"""The rules of a conversation with Codex in its own protocol."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from events.calls import CallKind, Verdict
from events.task import Usage
from pandar_daemon.adapters.agents.codex_app_server import TERMS, CodexDriver
from pandar_daemon.domain.hearing import (
    Asked,
    Broken,
    Called,
    CallStatus,
    Fault,
    Heard,
    Questioned,
    Ready,
    Said,
    Stop,
    TurnEnded,
    Used,
    Withdrawn,
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

RUN = {"itemId": "i1", "command": "/bin/bash -lc 'git push'", "cwd": "/work", "reason": "Push it"}
COMMAND = "item/commandExecution/requestApproval"


def heard(made: CodexDriver, *lines: bytes) -> list[Heard]:
    """Return what is heard of these lines."""
    return list(made.receive(b"".join(lines))[0])


def test_begins_a_thread() -> None:
    """Hello, then a thread whose approvals come to us."""
    made = driver()
    (hello,) = messages(made.open("/work"))
    assert hello["method"] == "initialize"
    initialized, start = messages(made.receive(line(id=1, result={}))[1])
    assert initialized["method"] == "initialized"
    assert (start["method"], start["params"]) == ("thread/start", {"cwd": "/work", **TERMS})
    assert TERMS["approvalsReviewer"] == "user"
    told = heard(made, line(id=2, result={"thread": {"id": THREAD}}))
    assert told == [Ready(session_id=THREAD, loaded=False)]


@pytest.mark.parametrize("found", [True, False])
def test_resumes_a_thread(*, found: bool) -> None:
    """An earlier thread is resumed; one that cannot be becomes a new one."""
    made = driver()
    made.open("/work", "old")
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
    made.open("/work")
    told = heard(made, line(id=1, error={"code": -1, "message": "bad config"}))
    assert told == [Broken(error="codex cannot begin: bad config")]


def test_a_thread_needs_a_name() -> None:
    """A thread has to have a name that can be kept."""
    made = driver()
    made.open("/work")
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
    run = {"type": "commandExecution", "id": "i1", "command": "ls", "cwd": "/work"}
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


@pytest.mark.parametrize(
    ("verdict", "decision"),
    [(Verdict.ALLOW, "accept"), (Verdict.DENY, "decline"), (Verdict.ASK, "cancel")],
)
def test_asks_for_a_command(verdict: Verdict, decision: str) -> None:
    """Each verdict is a decision for this once; the shell around a command is left out."""
    made = prompted()
    (asked,) = heard(made, asks(7, COMMAND, **RUN))
    assert isinstance(asked, Asked)
    assert (asked.call.command, asked.call.cwd, asked.intent) == ("git push", "/work", "Push it")
    (message,) = messages(made.answer("7", verdict))
    assert message["result"] == {"decision": decision}
    assert made.answer("7", verdict) == b""


def test_a_reason_reaches_the_turn() -> None:
    """Why something is denied is said within the turn."""
    made = prompted()
    made.receive(asks(7, COMMAND, **RUN))
    _, steer = messages(made.answer("7", Verdict.DENY, "use a branch"))
    assert steer["method"] == "turn/steer"
    assert steer["params"] == {
        "threadId": THREAD,
        "expectedTurnId": TURN,
        "input": [{"type": "text", "text": "use a branch"}],
    }
    assert heard(made, line(id=steer["id"], error={"code": -1, "message": "too late"})) == []


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("/bin/bash -lc 'ls -l'", "ls -l"),
        ("zsh -lc ls", "ls"),
        ("bash -c ls", "bash -c ls"),
        ("bash -lc 'ls", "bash -lc 'ls"),
        ("bash -lc ls more", "bash -lc ls more"),
    ],
)
def test_leaves_out_its_own_shell(command: str, shown: str) -> None:
    """Only the shell Codex wraps every command in."""
    (asked,) = heard(prompted(), asks(7, COMMAND, **{**RUN, "command": command}))
    assert isinstance(asked, Asked)
    assert asked.call.command == shown


CHANGES = [
    {"path": "/w/a", "kind": {"type": "add"}, "diff": "one\ntwo\n"},
    {"path": "/w/b", "kind": {"type": "update"}, "diff": "@@ -1 +1 @@\n-x\n+y\n"},
    {"path": "/w/c", "kind": {"type": "delete"}, "diff": "gone"},
    {"path": "/w/d", "kind": {"type": "update", "move_path": "/w/e"}, "diff": "@@ -1 +1 @@\n"},
]


def test_asks_for_a_change() -> None:
    """A change is known from its item, as one unified diff."""
    made = prompted()
    made.receive(item("started", type="fileChange", id="i2", changes=CHANGES, status="inProgress"))
    (asked,) = heard(made, asks(8, "item/fileChange/requestApproval", itemId="i2"))
    assert isinstance(asked, Asked)
    assert asked.call.kind is CallKind.EDIT
    assert asked.call.paths == ["/w/a", "/w/b", "/w/c", "/w/d", "/w/e"]
    assert asked.call.diff == (
        "--- /dev/null\n+++ /w/a\n+one\n+two\n"
        "--- /w/b\n+++ /w/b\n@@ -1 +1 @@\n-x\n+y\n"
        "--- /w/c\n+++ /dev/null\n-gone\n"
        "--- /w/d\n+++ /w/e\n@@ -1 +1 @@\n"
    )


def test_asks_for_more_than_the_call() -> None:
    """Wider permissions that come with a call are part of what is decided."""
    made = prompted()
    made.receive(item("started", type="fileChange", id="i2", changes=CHANGES[:1]))
    plain, root = heard(
        made,
        asks(8, "item/fileChange/requestApproval", itemId="i2"),
        asks(9, "item/fileChange/requestApproval", itemId="i2", grantRoot="/"),
    )
    assert isinstance(plain, Asked)
    assert isinstance(root, Asked)
    assert root.call.input == '{"grantRoot":"/"}'


def test_asks_for_the_network() -> None:
    """A host that is asked for is named."""
    context = {"host": "example.org", "protocol": "https"}
    (asked,) = heard(prompted(), asks(7, COMMAND, **RUN, networkApprovalContext=context))
    assert isinstance(asked, Asked)
    assert (asked.call.hosts, asked.call.command) == (["example.org"], "git push")


@pytest.mark.parametrize(
    ("verdict", "granted"), [(Verdict.ALLOW, {"network": {"enabled": True}}), (Verdict.DENY, {})]
)
def test_asks_for_permissions(verdict: Verdict, granted: object) -> None:
    """Wider permissions are granted for the turn as asked, or not at all."""
    made = prompted()
    wanted = {"network": {"enabled": True}}
    method = "item/permissions/requestApproval"
    (asked,) = heard(made, asks(7, method, itemId="i9", permissions=wanted, cwd="/work"))
    assert isinstance(asked, Asked)
    assert asked.call.input == '{"permissions":{"network":{"enabled":true}}}'
    (message,) = messages(made.answer("7", verdict))
    assert message["result"] == {"permissions": granted, "scope": "turn"}


QUESTIONS = [
    {"id": "q1", "header": "DB", "question": "Which?", "options": [{"label": "pg"}]},
    {"id": "q2", "header": "Why", "question": "Why?", "options": None},
]


def test_asks_questions() -> None:
    """Questions are one text; each gets its line of the answer."""
    made = prompted()
    (asked,) = heard(made, asks(7, "item/tool/requestUserInput", questions=QUESTIONS))
    text = "Please answer these questions.\n1. Which? (pg)\n2. Why?"
    assert asked == Questioned(request_id="7", text=text)
    (message,) = messages(made.answer("7", Verdict.ALLOW, "PG\nbecause"))
    assert message["result"] == {
        "answers": {"q1": {"answers": ["pg"]}, "q2": {"answers": ["because"]}}
    }


def test_leaves_a_question_unanswered() -> None:
    """A question that nobody answers gets none."""
    made = prompted()
    (asked,) = heard(made, asks(7, "item/tool/requestUserInput", questions=QUESTIONS[:1]))
    assert isinstance(asked, Questioned)
    assert (asked.text, asked.choices) == ("Which? (pg)", ["pg"])
    assert messages(made.answer("7", Verdict.DENY, "no"))[0]["result"] == {"answers": {}}


def test_passes_on_what_a_server_asks() -> None:
    """A form of an MCP server is a question; one with nothing to fill in is a permission."""
    made = prompted()
    schema = {"type": "object", "properties": {"x": {"type": "string", "title": "Name?"}}}
    method = "mcpServer/elicitation/request"
    form = {"mode": "form", "serverName": "db", "message": "Who?"}
    question, consent = heard(
        made,
        asks(1, method, requestedSchema=schema, **form),
        asks(2, method, requestedSchema={"type": "object", "properties": {}}, **form),
    )
    assert isinstance(question, Questioned)
    assert isinstance(consent, Asked)
    assert consent.call.input == '{"message":"Who?","serverName":"db"}'
    (message,) = messages(made.answer("1", Verdict.ALLOW, "me"))
    assert message["result"] == {"action": "accept", "content": {"x": "me"}}


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("item/tool/call", {}),
        ("applyPatchApproval", {}),
        ("mcpServer/elicitation/request", {"mode": "url", "url": "http://x"}),
    ],
)
def test_refuses_what_it_does_not_do(method: str, params: dict[str, object]) -> None:
    """Other requests are refused, not left open."""
    (message,) = messages(prompted().receive(asks(7, method, **params))[1])
    assert message["error"]["code"] == -32601


def test_what_is_resolved_is_withdrawn() -> None:
    """Codex tells when a request is over."""
    made = prompted()
    made.receive(asks(7, COMMAND, **RUN))
    told, out = made.receive(note("serverRequest/resolved", requestId=7))
    assert (told, out) == ([Withdrawn(request_id="7")], b"")
    assert heard(made, note("serverRequest/resolved", requestId=7)) == []


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
