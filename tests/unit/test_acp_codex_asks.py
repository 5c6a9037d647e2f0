"""What Codex asks in its own protocol, and what it is answered."""

from __future__ import annotations

import pytest

from events.calls import CallKind, Verdict
from pandar_daemon.adapters.agents.codex_app_server import CodexDriver
from pandar_daemon.domain.hearing import (
    Asked,
    Heard,
    Questioned,
    Withdrawn,
)
from tests.support.acp_lines import messages
from tests.support.codex_lines import (
    THREAD,
    TURN,
    asks,
    item,
    line,
    note,
    prompted,
)

RUN = {"itemId": "i1", "command": "/bin/bash -lc 'git push'", "cwd": "/srv", "reason": "Push it"}
COMMAND = "item/commandExecution/requestApproval"


def heard(made: CodexDriver, *lines: bytes) -> list[Heard]:
    """Return what is heard of these lines."""
    return list(made.receive(b"".join(lines))[0])


@pytest.mark.parametrize(
    ("verdict", "decision"),
    [(Verdict.ALLOW, "accept"), (Verdict.DENY, "decline"), (Verdict.ASK, "cancel")],
)
def test_asks_for_a_command(verdict: Verdict, decision: str) -> None:
    """Each verdict is a decision for this once; the shell around a command is left out."""
    made = prompted()
    (asked,) = heard(made, asks(7, COMMAND, **RUN))
    assert isinstance(asked, Asked)
    assert (asked.call.command, asked.call.cwd, asked.intent) == ("git push", "/srv", "Push it")
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
    (asked,) = heard(made, asks(7, method, itemId="i9", permissions=wanted, cwd="/srv"))
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
