"""The classifier: the registry, calls that are no commands, gates of a project's own, any text."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.calls import LIST_MAX, TEXT_MAX, CallKind, GateRule, Match, Rules, Severity, ToolCall
from pandar_daemon.domain.gates import GATES, RULES, UNCLASSIFIED, touched
from tests.support.calls import HOME, WORKSPACE, change, command, rules_touched


def test_the_registry_is_that_of_the_documentation() -> None:
    """There are exactly these gates, each with a sentence about it."""
    assert list(GATES) == [
        "git_push_protected",
        "secrets_access",
        "infra_change",
        "package_publish",
        "network_egress",
        "outside_workspace",
        "destructive_fs",
        "budget",
    ]
    assert all(gate.about and gate.name == name for name, gate in GATES.items())


def test_every_rule_belongs_to_a_gate() -> None:
    """The name before the dot is a gate of the registry, or says that nobody can tell."""
    gates = {rule.partition(".")[0] for rule in RULES}
    assert gates == {*GATES, UNCLASSIFIED} - {"budget"}


CHANGES = {
    (CallKind.EDIT, "src/a.py"): [],
    (CallKind.EDIT, "/srv/site/src/a.py"): [],
    (CallKind.EDIT, "/srv/home/notes"): [],
    (CallKind.EDIT, "../x"): ["outside_workspace.write"],
    (CallKind.EDIT, "src/../../x"): ["outside_workspace.write"],
    (CallKind.EDIT, "/srv/site2/x"): ["outside_workspace.write"],
    (CallKind.EDIT, "/etc/hosts"): ["outside_workspace.system"],
    (CallKind.EDIT, "/private/tmp/x"): ["outside_workspace.temporary"],
    (CallKind.EDIT, ".env"): ["secrets_access.file"],
    (CallKind.EDIT, ".env.example"): [],
    (CallKind.EDIT, ".git/hooks/pre-commit"): ["unclassified.later"],
    (CallKind.EDIT, "~/.bashrc"): ["unclassified.later"],
    (CallKind.DELETE, "a.py"): [],
    (CallKind.DELETE, "../a.py"): ["outside_workspace.write"],
    (CallKind.DELETE, "."): ["destructive_fs.root"],
    (CallKind.DELETE, "/srv"): ["destructive_fs.root"],
    (CallKind.MOVE, "a.py"): [],
    (CallKind.READ, "a.py"): [],
    (CallKind.READ, "/usr/include/stdio.h"): [],
    (CallKind.READ, "/srv/site/.env"): ["secrets_access.file"],
    (CallKind.READ, "~/.ssh/id_rsa"): ["secrets_access.file"],
    (CallKind.READ, "~/.ssh/id_rsa.pub"): [],
    (CallKind.SEARCH, "src"): [],
    (CallKind.SEARCH, ".env"): ["secrets_access.file"],
}


@pytest.mark.parametrize(("kind", "path"), CHANGES)
def test_a_call_is_judged_by_its_kind_and_paths(kind: CallKind, path: str) -> None:
    """Changing outside and naming secrets is seen; reading and editing in place is ordinary."""
    assert rules_touched(change(kind, path)) == CHANGES[kind, path]


def test_moving_away_and_to_are_both_seen() -> None:
    """The first path of a move is gone after it, the others are written."""
    assert rules_touched(change(CallKind.MOVE, "a", "/etc/a")) == ["outside_workspace.system"]
    assert rules_touched(change(CallKind.MOVE, "/srv/site", "b")) == ["destructive_fs.root"]


def test_the_paths_of_a_diff_count() -> None:
    """A call that names other paths than its diff changes is judged by both."""
    diff = "--- a/x\n+++ b/../other/x\n@@ -1 +1 @@\n-a\n+b\n"
    assert rules_touched(change(CallKind.EDIT, "x", diff=diff)) == ["outside_workspace.write"]
    new = "--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+b\n"
    assert rules_touched(change(CallKind.EDIT, diff=new)) == []


NOTHING_SAID = {
    CallKind.EXECUTE: ["unclassified.nothing"],
    CallKind.EDIT: ["unclassified.nothing"],
    CallKind.DELETE: ["unclassified.nothing"],
    CallKind.MOVE: ["unclassified.nothing"],
    CallKind.OTHER: ["unclassified.tool"],
    CallKind.FETCH: ["network_egress.host"],
    CallKind.READ: [],
    CallKind.SEARCH: [],
    CallKind.THINK: [],
}


def test_every_kind_is_judged_when_it_says_nothing() -> None:
    """What would act and does not say on what is a doubt; looking and thinking is not."""
    assert {kind: rules_touched(ToolCall(kind=kind)) for kind in CallKind} == NOTHING_SAID


def test_a_command_counts_whatever_the_kind() -> None:
    """Some agents call a command that reads a read."""
    for kind in CallKind:
        call = ToolCall(kind=kind, command="git push", paths=["x"])
        assert "git_push_protected.push" in rules_touched(call)


def test_hosts_count_unless_they_are_this_machine() -> None:
    """Each host is a part of its own; loopback is none."""
    call = ToolCall(kind=CallKind.FETCH, hosts=["localhost:3000", "x.example", "127.0.0.1"])
    found = touched(call, Rules(), WORKSPACE, HOME)
    assert [(touch.rule, touch.part) for touch in found] == [
        ("network_egress.host", ("x.example",))
    ]
    assert rules_touched(ToolCall(kind=CallKind.FETCH, hosts=["[::1]:80"])) == []


def test_what_is_cut_is_a_doubt() -> None:
    """A command or a list at its limit may go on where nobody sees it."""
    long = command("echo " + "a" * (TEXT_MAX - 5))
    many = change(CallKind.READ, *["a"] * LIST_MAX)
    assert rules_touched(long) == ["unclassified.cut"]
    assert rules_touched(many) == ["unclassified.cut"]


def test_where_a_command_begins_counts() -> None:
    """Relative paths are those of the call's own folder; no folder means the workspace."""
    assert rules_touched(command("touch x", cwd="/etc")) == ["outside_workspace.system"]
    assert rules_touched(command("touch ../x", cwd="src")) == []
    assert rules_touched(command("touch x", cwd="")) == []


def test_a_touch_names_the_simple_command() -> None:
    """The part is what stands in the text; what the shell may change is not fixed."""
    found = touched(command('ls && A=1 git push "$x"'), Rules(), WORKSPACE, HOME)
    assert [(touch.rule, touch.part, touch.fixed) for touch in found] == [
        ("git_push_protected.push", ("A=1", "git", "push", "$x"), False)
    ]
    elsewhere = touched(command("cd /opt/x && git push"), Rules(), WORKSPACE, HOME)
    assert [touch.fixed for touch in elsewhere] == [False]


def _own(**match: object) -> GateRule:
    return GateRule(
        name="billing",
        match=Match(**match),  # type: ignore[arg-type]
        severity=Severity.HIGH,
        why="money",
    )


OWN = [
    (_own(paths=["src/billing/*"]), change(CallKind.EDIT, "src/billing/a.py"), True),
    (_own(paths=["/srv/site/src/*"]), change(CallKind.EDIT, "src/./a.py"), True),
    (_own(paths=["src/billing/*"]), change(CallKind.EDIT, "/srv/site/src/billing/a.py"), True),
    (_own(paths=["src/billing/*"]), command("cat billing/a", cwd="/srv/site/src"), True),
    (_own(paths=["src/billing/*"]), change(CallKind.EDIT, "src/x/../billing/a.py"), True),
    (_own(paths=["src/billing/*"]), change(CallKind.EDIT, "/opt/src/billing/a.py"), False),
    (_own(paths=["src/billing/*"]), change(CallKind.EDIT, "src/a.py"), False),
    (_own(paths=["src/billing/*"]), command("sed -i s/a/b/ src/billing/a.py"), True),
    (_own(paths=["*billing*"]), command("echo x > billing.txt"), True),
    (_own(commands=["bin/charge *"]), command("true; bin/charge 5"), True),
    (_own(commands=["charge *"]), command("/opt/bin/charge 5"), True),
    (_own(commands=["charge *"]), command("bash -c 'timeout 5 charge 5'"), True),
    (_own(commands=["charge *"]), command("echo charge 5"), False),
    (_own(hosts=["*.bank.example"]), command("curl https://api.bank.example/x"), True),
    (_own(hosts=["*.bank.example"]), ToolCall(hosts=["a.bank.example:443"]), True),
    (_own(hosts=["*.bank.example"]), command("curl https://x.example/bank.example"), False),
    (_own(tools=["mcp__bank__*"]), ToolCall(tool="mcp__bank__pay"), True),
    (_own(tools=["mcp__bank__*"]), ToolCall(tool="mcp__mail__send"), False),
    (_own(kinds=[CallKind.DELETE], paths=["src/*"]), change(CallKind.DELETE, "src/a"), True),
    (_own(kinds=[CallKind.DELETE], paths=["src/*"]), change(CallKind.EDIT, "src/a"), False),
    (_own(commands=["charge *"], hosts=["x.example"]), command("charge x.example"), True),
    (_own(commands=["charge *"], hosts=["x.example"]), command("charge y.example"), False),
]


@pytest.mark.parametrize(("rule", "call", "fits"), OWN)
def test_gates_of_a_projects_own(rule: GateRule, call: ToolCall, *, fits: bool) -> None:
    """A rule fits when one item of each of its lists does, however the command is wrapped."""
    found = [t for t in touched(call, Rules(own=[rule]), WORKSPACE, HOME) if t.gate == "billing"]
    assert bool(found) is fits
    assert {(t.rule, t.severity, t.why) for t in found} <= {("own.billing", Severity.HIGH, "money")}


SHELL_TEXT = st.text(alphabet="gitpushrmc -rf\\\n\t'\"`$(){}<>;&|!#=/~*?[]a1.%:,@", max_size=80)


@given(SHELL_TEXT | st.text(max_size=80))
def test_never_raises(text: str) -> None:
    """Whatever the text is, the answer is a list of rules there are."""
    assert set(rules_touched(text)) <= set(RULES)


@given(st.builds(ToolCall, kind=st.sampled_from(CallKind), paths=st.lists(st.text(max_size=20))))
def test_never_raises_for_paths(call: ToolCall) -> None:
    """Whatever the paths are, the answer is a list of rules there are."""
    assert set(rules_touched(call)) <= set(RULES)


@given(SHELL_TEXT)
def test_what_comes_before_never_hides_a_push(text: str) -> None:
    """A push at the end of any text is seen, or there is a doubt; it is never nothing."""
    assert rules_touched(f"{text}\ngit push") != [] or "<<" in text or text.endswith("\\")


PIECES = [
    *("$(", "`", "(", '"$(', "${", "$((", "{a,", "'", "$'\\'", "<<A\n", "<<A $(\n", "cat <<A\n"),
    *("env ", "timeout 1 ", "eval ", "sh -c 'x';", "xargs ", "find -exec ", "find -exec a \\; "),
    *("cd a;", "cd a\n", "a=1;", "a=$b;", "cat $x;", "for x in a;", "git ", "git push;", "rm -r "),
    *("/a/../", "~/", "=", "@", ":a", "sed s/a/b/;", "awk |", "kubectl get secret,", "npm run a "),
]


def _steps(text: str) -> int:
    """Return how many calls of functions it takes to classify a text."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(note)
    try:
        rules_touched(text)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("piece", PIECES)
def test_length_is_no_trap(piece: str) -> None:
    """Twice the text takes little more than twice the steps, whatever it is made of."""
    half, whole = ((piece * TEXT_MAX)[:length] for length in (TEXT_MAX // 2, TEXT_MAX))
    assert _steps(whole) < 3 * _steps(half)
