"""What agents say of a call, in the words of no agent in particular."""

from __future__ import annotations

from typing import Any

import pytest

from events.calls import DIFF_MAX, LIST_MAX, TEXT_MAX, CallKind, ToolCall
from pandar_daemon.adapters.agents.acp_calls import CALLS_MAX, Calls, Told, merged
from pandar_daemon.domain.hearing import CallStatus

Json = dict[str, Any]
SHELL = {"toolCallId": "c", "kind": "execute", "title": "t"}


def call_of(*updates: Json, by_title: bool = False) -> ToolCall:
    """Return the call these updates tell of."""
    told = Told(call_id="c", by_title=by_title)
    for update in updates:
        told = merged(told, update)
    return told.call


def run(**given: object) -> ToolCall:
    """Return the call of a shell that was given this."""
    return call_of({**SHELL, "rawInput": given})


@pytest.mark.parametrize(
    ("given", "command"),
    [
        ({"command": "git push"}, "git push"),
        ({"cmd": "git push"}, "git push"),
        ({"command": ["bash", "-lc", "git push; ls"]}, "bash -lc 'git push; ls'"),
        ({"command": []}, ""),
        ({"command": 7}, ""),
        ({"command": ["a", 3]}, "a ''"),
        ({}, ""),
        ([], ""),
        ("text", ""),
    ],
)
def test_reads_a_command(given: object, command: str) -> None:
    """Shell text as it is, words quoted as a shell needs them."""
    assert call_of({**SHELL, "rawInput": given}).command == command


@pytest.mark.parametrize("name", ["cwd", "workdir", "working_directory"])
def test_reads_where_a_command_runs(name: str) -> None:
    """The directory, however an agent names it."""
    assert run(command="ls", **{name: "/x"}).cwd == "/x"


def test_the_same_command_in_other_words_is_the_same() -> None:
    """A description, a title, an id or a time limit change nothing of what would happen."""
    first = run(command="git push", description="Push", timeout=5)
    again = call_of({**SHELL, "title": "other", "rawInput": {"command": "git push"}})
    assert (first.input, first.sha256) == ("", again.sha256)


def test_a_command_with_more_to_it_says_so() -> None:
    """What else is given to a shell is kept, as JSON."""
    assert run(command="ls", host="prod", env={"B": 1, "A": 2}).input == (
        '{"env":{"A":2,"B":1},"host":"prod"}'
    )


@pytest.mark.parametrize(
    ("kind", "name", "command"),
    [
        ("execute", "", "ls"),
        ("other", "Bash", "ls"),
        ("other", "run_shell_command", "ls"),
        ("nonsense", "", "ls"),
        ("other", "mcp__ssh__run", ""),
        ("edit", "", ""),
    ],
)
def test_only_a_shell_has_a_command(kind: str, name: str, command: str) -> None:
    """Another tool's member of that name may mean anything: it stays JSON."""
    call = call_of({"kind": kind, "name": name, "rawInput": {"command": "ls"}})
    assert call.command == command
    assert call.input == ("" if command else '{"command":"ls"}')


def test_the_kind_may_come_late() -> None:
    """What the input means is decided by all that is known at last."""
    early = {"rawInput": {"command": "ls"}, "name": "mystery"}
    assert call_of(early).command == ""
    assert call_of(early, {"kind": "execute"}).command == "ls"


def edit(path: str, old: str | None, new: str) -> Json:
    """Return an update that changes a file."""
    diff = {"type": "diff", "path": path, "oldText": old, "newText": new}
    return {"kind": "edit", "title": "Edit", "content": [diff], "locations": [{"path": path}]}


def test_reads_a_change() -> None:
    """Texts before and after become a unified diff, its path and its hash."""
    call = call_of(edit("/w/a.txt", "a\nb\n", "a\nc\n"))
    assert call.diff == "--- /w/a.txt\n+++ /w/a.txt\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
    assert (call.kind, call.paths, call.input) == (CallKind.EDIT, ["/w/a.txt"], "")
    assert len(call.diff_sha256) == 64


def test_a_new_file_is_one() -> None:
    """Without a text before, or said to be added, it comes from nowhere."""
    added = edit("/w/a", "", "x\n")
    added["content"][0]["_meta"] = {"kind": "add"}
    assert call_of(added).diff == call_of(edit("/w/a", None, "x\n")).diff
    assert call_of(added).diff.startswith("--- /dev/null\n+++ /w/a\n")


def test_other_content_of_the_same_file_is_another_call() -> None:
    """The hash tells changes apart, also beyond what is kept of a diff."""
    long = "\n".join(str(n) for n in range(DIFF_MAX))
    one, two = (call_of(edit("/w/a", None, long + end)) for end in "xy")
    assert len(one.diff) == DIFF_MAX
    assert one.sha256 != two.sha256


def test_reads_hosts() -> None:
    """The hosts of addresses, and for a fetch those within its texts."""
    fetch = {"kind": "fetch", "rawInput": {"prompt": "see http://A.example/x and ftp://b.example"}}
    assert call_of(fetch).hosts == ["a.example", "b.example"]
    given = {"url": "https://user@c.example:8443/x", "query": "http://d.example"}
    assert call_of({"kind": "other", "rawInput": given}).hosts == ["c.example"]


@pytest.mark.parametrize("address", ["http://[::1", "nonsense", "http://"])
def test_a_strange_address_stands_for_itself(address: str) -> None:
    """What cannot be taken apart is shown as it is."""
    assert call_of({"kind": "fetch", "rawInput": {"url": address}}).hosts == [address]


def test_an_unknown_tool_keeps_its_input() -> None:
    """What nothing better is known of is JSON, its members in order."""
    told = {"name": "mcp__db__query", "rawInput": {"sql": "drop table x", "db": 1}}
    call = call_of(told)
    assert (call.tool, call.input) == ("mcp__db__query", '{"db":1,"sql":"drop table x"}')
    assert call.sha256 != call_of({**told, "rawInput": {"sql": "select 1"}}).sha256


def test_the_adapter_of_claude_names_the_tool_elsewhere() -> None:
    """Before the protocol had a place for a tool's name, it stood in the metadata."""
    assert call_of({"_meta": {"claudeCode": {"toolName": "Bash"}}}).tool == "Bash"


def test_reads_paths() -> None:
    """Paths come from places, from changes and from the input; each is named once."""
    given = {"file_path": "/a"}
    read = {"kind": "read", "rawInput": given, "locations": [{"path": "/a"}, {"path": "/b"}]}
    assert call_of(read).paths == ["/a", "/b"]


def test_cuts_what_is_too_much() -> None:
    """Nothing is refused for its size, and different texts stay different."""
    one, two = (run(command="x" * TEXT_MAX + end) for end in "ab")
    assert len(one.command) == TEXT_MAX
    assert "[cut: 10,001 characters, SHA-256 " in one.command
    assert one.sha256 != two.sha256
    many = [{"path": f"/{n}"} for n in range(LIST_MAX + 5)]
    paths = call_of({"kind": "read", "locations": many}).paths
    assert len(paths) == LIST_MAX
    assert paths[-1].startswith("[and 6 more, SHA-256 ")


def test_shows_a_nul() -> None:
    """A NUL, which no database text holds, is made visible."""
    assert run(command="a\0b").command == "a\u2400b"


def test_says_it_by_title() -> None:
    """Gemini states no input: a command is its title, the rest stands in the content."""
    note = "[current working directory /w] (Push it) [background]"
    content = [{"type": "content", "content": {"type": "text", "text": note}}]
    asked = {**SHELL, "title": "git push", "content": content}
    call = call_of(asked, {"content": [], "status": "completed"}, by_title=True)
    assert (call.command, call.cwd) == ("git push", "/w")
    assert call_of(asked).command == ""


def test_an_update_replaces_what_it_names() -> None:
    """Fields that are absent or empty stay as they were."""
    calls = Calls()
    told, new = calls.tell({**SHELL, "rawInput": {"command": "ls"}})
    assert new
    again, new = calls.tell({"toolCallId": "c", "rawInput": {}, "title": "", "kind": None})
    assert (again, new) == (told, False)
    last, new = calls.tell({"toolCallId": "c", "status": "failed", "rawOutput": "no"})
    assert new
    assert (last.status, last.output, last.call.command) == (CallStatus.FAILED, "no", "ls")


def test_output_of_a_terminal_comes_in_pieces() -> None:
    """Codex tells what a terminal shows piece by piece."""
    calls = Calls()
    for piece in ("a\n", "b\n"):
        told, _ = calls.tell(
            {"toolCallId": "c", "_meta": {"terminal_output_delta": {"data": piece}}}
        )
    assert told.output == "a\nb\n"


def test_forgets_the_oldest_call() -> None:
    """What is kept of calls is bounded."""
    calls = Calls()
    for number in range(CALLS_MAX + 1):
        calls.tell({"toolCallId": str(number), "title": "t"})
    assert calls.tell({"toolCallId": "0"})[0].title == ""
    assert calls.tell({"toolCallId": str(CALLS_MAX)})[0].title == "t"


@pytest.mark.parametrize("strange", [None, 7, "x", [1, None], {"a": [{}]}, True])
def test_takes_any_shape(strange: object) -> None:
    """Fields of any shape are no error."""
    names = ("kind", "title", "name", "status", "rawInput", "content", "locations", "_meta")
    for name in names:
        assert isinstance(call_of({name: strange}), ToolCall)
    assert Calls().tell({"toolCallId": strange})[0].call_id in ("", "x")
