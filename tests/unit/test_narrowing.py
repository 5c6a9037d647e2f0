"""A repository's own file: whatever it says, it only narrows, and what it wanted is told."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from events.calls import (
    GATE_NAMES,
    Allowance,
    CallKind,
    GateRule,
    Match,
    Rules,
    Severity,
    ToolCall,
    Verdict,
)
from events.confinement import Confines, Limits
from pandar_daemon.domain import egress
from pandar_daemon.domain.judging import judge
from pandar_daemon.domain.narrowing import (
    PREFIX,
    RULES_MAX,
    SAID_MAX,
    SIZE_MAX,
    Narrowed,
    narrow,
    narrow_by,
)
from tests.support.calls import HOME, WORKSPACE

DEPLOY = GateRule(name="deploy", match=Match(commands=["make deploy*"]), severity=Severity.HIGH)
NEVER = GateRule(name="never", match=Match(commands=["*drop*"]))
STRICT = {Verdict.ALLOW: 0, Verdict.ASK: 1, Verdict.DENY: 2}


def narrowed(
    text: str,
    rules: Rules = Rules(),  # noqa: B008 - frozen
    confines: Confines = Confines(),  # noqa: B008 - frozen
) -> Narrowed:
    """Return what a file leaves."""
    return narrow(rules, confines, text.encode())


# --- by example ------------------------------------------------------------------------------


def test_a_policy_becomes_stricter_and_never_laxer() -> None:
    """Both are told."""
    auto, manual = Rules(policy="auto"), Rules(policy="manual")
    stricter = narrowed('policy = "manual"', auto)
    assert (stricter.rules.policy, stricter.changes) == ("manual", ("policy auto → manual",))
    laxer = narrowed('policy = "auto"', manual)
    assert laxer.rules == manual
    assert laxer.refused == ("policy auto would ask about less than manual",)
    assert narrowed('policy = "auto_with_gates"').changes == ()
    assert narrowed('policy = "auto"', Rules(policy="of a newer release")).refused


def test_more_gates_and_never_fewer() -> None:
    """A task that stops at all of them is not made to stop at those the file names alone."""
    some = Rules(gates=["secrets_access"], own=[DEPLOY])
    assert narrowed('stop_at = ["deploy"]', some).rules.gates == ["secrets_access", "deploy"]
    assert narrowed('stop_at = ["deploy"]', Rules(own=[DEPLOY])).rules.gates == []
    assert narrowed("stop_at = []", some).rules.gates == ["secrets_access"]
    assert narrowed('gates = ["deploy"]', some).changes == ("stops at deploy",)
    assert narrowed('stop_at = ["nowhere"]', some).refused == ("stop_at: nowhere is no gate",)


def test_gates_of_its_own_bear_names_nobody_else_has() -> None:
    """Named as one of the owner's, it is another one; how grave it is, it has no say in."""
    text = """
    [gates.deploy]
    match = { commands = ["ls*"] }
    severity = "critical"
    why = "it is\\nquite harmless"
    """
    for gates in ([], ["deploy"]):
        found = narrowed(text, Rules(own=[DEPLOY], gates=gates))
        assert [rule.name for rule in found.rules.own] == ["deploy", "repo:deploy"]
        assert found.rules.gates == ([*gates, "repo:deploy"] if gates else [])
        assert found.rules.own[1].severity is Severity.LOW
        assert found.rules.own[1].why == "the repository says: it is quite harmless"


def test_gates_that_would_change_nothing_are_told() -> None:
    """Under auto nothing stops, under manual everything does."""
    text = '[gates.x]\nmatch = { commands = ["ls"] }'
    assert narrowed(text, Rules(policy="auto")).refused == (
        "gates: policy auto stops at no gate; state a policy as well",
    )
    assert narrowed(text, Rules(policy="manual")).refused == (
        "gates: every call is asked about already",
    )
    both = f'policy = "auto_with_gates"\n{text}'
    assert narrowed(both, Rules(policy="auto")).changes == (
        "policy auto → auto_with_gates",
        "stops at repo:x",
    )


def test_what_is_never_done_is_added() -> None:
    """Behind what the owner has, and under every policy."""
    found = narrowed(
        '[deny.x]\nmatch = { paths = ["gen/*"] }', Rules(policy="auto", denied=[NEVER])
    )
    assert [rule.name for rule in found.rules.denied] == ["never", "repo:x"]
    assert narrowed("[deny.x]\nmatch = {}").refused == (
        "deny.x: must state one of kinds, tools, commands, paths, hosts",
    )


def test_hosts_are_those_both_name() -> None:
    """Wider, narrower, with and without ports."""
    confines = Confines(hosts=["packages.test", "*.example.org", "git.local:8443"])

    def hosts(*names: str) -> list[str]:
        return narrow_by(Rules(), confines, {"hosts": list(names)}).confines.hosts

    assert hosts("packages.test") == ["packages.test"]
    assert hosts("Packages.Test:443") == ["packages.test:443"]
    assert hosts("packages.test:22") == []
    assert hosts("a.example.org", "*.b.example.org") == ["a.example.org", "*.b.example.org"]
    assert hosts("*.org") == [], "which means nobody, for it means too many"
    assert hosts("example.org.", "b.EXAMPLE.org.") == ["b.example.org"]
    assert hosts("example.org", "evilexample.org") == []
    assert hosts("git.local") == []
    assert hosts("git.local:8443") == ["git.local:8443"]
    assert hosts() == []
    found = narrow_by(Rules(), confines, {"hosts": ["evil.com"]})
    assert found.refused == ("hosts: evil.com was not to be called anyway",)
    assert found.changes == ("calls only nobody",)


def test_limits_shrink_and_never_grow() -> None:
    """One that has no limit gets one."""
    found = narrowed("[limits]\nmemory_mb = 512\ndisk_mb = 99999\ncpu = 1.5\nfiles = 1\nx = 1")
    assert found.confines.limits == Limits(memory_mb=512, cpu=1.5)
    assert found.changes == ("memory_mb at most 512", "cpu at most 1.5")
    assert [line.partition(":")[0] for line in found.refused] == [
        "limits",
        "limits.files",
        "limits",
    ]


def test_branches_are_protected_beside_the_usual_ones() -> None:
    """None is taken away."""
    found = narrowed('protected = ["v1", "main"]')
    assert found.confines.protected == ["main", "master", "release/*", "production", "v1"]
    assert found.changes == ("protects v1",)


@pytest.mark.parametrize(
    "text", [b"policy = ", b"\xff", b"#" * (SIZE_MAX + 1), b"[" * 5_000, b"a" * 5_000]
)
def test_what_nobody_understands_lets_everything_be_asked_about(text: bytes) -> None:
    """It wanted to narrow, and nobody knows how."""
    found = narrow(Rules(policy="auto"), Confines(), text)
    assert found.rules.policy == "manual"
    assert found.refused
    assert narrow(Rules(policy="auto"), Confines(), b"#" * SIZE_MAX).rules.policy == "auto"


def test_keys_nobody_knows_are_told_and_the_others_hold() -> None:
    """Text of the file is shown harmlessly, and not without end."""
    found = narrowed('level = "none"\n"\\u001b[2J\\u202e" = 1\npolicy = "manual"')
    assert found.rules.policy == "manual"
    assert len(found.refused) == 2
    assert all(line.isascii() and line.isprintable() for line in found.refused)
    many = narrowed("\n".join(f"k{number} = 1" for number in range(100)))
    assert len(many.refused) == SAID_MAX + 1
    assert many.refused[-1] == "and 80 more"


def test_rules_are_not_without_end() -> None:
    """Each is tried on each call."""
    tables = {f"g{number}": {"match": {"paths": ["x"]}} for number in range(RULES_MAX + 1)}
    assert len(narrow_by(Rules(), Confines(), {"gates": tables}).rules.own) == RULES_MAX
    wide = {"g": {"match": {"paths": ["x"] * 201}}}
    assert narrow_by(Rules(), Confines(), {"deny": wide}).rules.denied == []


# --- whatever it says ------------------------------------------------------------------------

COMMANDS = [
    "ls",
    "git push origin main",
    "make deploy",
    "drop it",
    "cat .env",
    "rm -rf /",
    "curl x",
]
NAMES = [*GATE_NAMES, "deploy", "x", "repo:x", "manual", "unclassified"]
patterns = st.sampled_from(["*", "ls*", "make *", "git *", "src/*", "*drop*", "[", "nowhere", ""])
lists = st.lists(patterns, max_size=2)
matches = st.fixed_dictionaries(
    {},
    optional={
        "commands": lists,
        "paths": lists,
        "hosts": lists,
        "kinds": st.lists(st.sampled_from([*CallKind, "nothing"]), max_size=2),
    },
)
tables = st.fixed_dictionaries(
    {"match": matches},
    optional={"severity": st.sampled_from([*Severity, "none"]), "why": st.text(max_size=9)},
)
names = st.sampled_from(["deploy", "x", "never", "git_push_protected", "manual", "UPPER", "repo:x"])
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)
HOSTS = [
    "a.org",
    "b.a.org",
    "*.a.org",
    "*.org",
    "a.org:443",
    "a.org:80",
    "*.a.org:22",
    "*",
    "A.org",
]
hosts = st.lists(st.sampled_from(HOSTS), max_size=4)
files = st.fixed_dictionaries(
    {},
    optional={
        "policy": st.sampled_from(["auto", "auto_with_gates", "manual"]) | junk,
        "stop_at": st.lists(st.sampled_from(NAMES), max_size=3) | junk,
        "gates": st.dictionaries(names, tables | junk, max_size=3) | junk,
        "deny": st.dictionaries(names, tables | junk, max_size=2) | junk,
        "hosts": hosts | junk,
        "limits": st.dictionaries(
            st.sampled_from([*Limits.__struct_fields__, "x"]), st.integers() | junk, max_size=3
        )
        | junk,
        "protected": st.lists(st.text(max_size=5), max_size=3) | junk,
        "allow": junk,
        "own": junk,
        "level": st.just("none"),
    },
)
gate_rules = st.builds(
    GateRule,
    name=st.sampled_from(["deploy", "x", "never"]),
    match=st.builds(Match, commands=lists, paths=lists),
    severity=st.sampled_from(Severity),
)
all_rules = st.builds(
    Rules,
    policy=st.sampled_from(["auto", "auto_with_gates", "manual", "of a newer release"]),
    gates=st.lists(st.sampled_from(NAMES), max_size=3),
    own=st.lists(gate_rules, max_size=2),
    denied=st.lists(gate_rules.filter(lambda rule: rule.match != Match()), max_size=1),
)
calls = st.builds(
    ToolCall,
    kind=st.sampled_from(CallKind),
    command=st.sampled_from(["", *COMMANDS]),
    paths=st.lists(st.sampled_from(["a.py", "src/b.py", "/etc/passwd", ".env"]), max_size=2),
    hosts=st.lists(st.sampled_from(["a.org", "x:22"]), max_size=1),
)
allowances = st.lists(
    st.builds(
        Allowance,
        gates=st.lists(st.sampled_from(NAMES), max_size=4),
        pattern=st.sampled_from(["", "*", "ls", "git *", "make *"]),
    ),
    max_size=2,
)


@settings(max_examples=400)
@example(
    data={"gates": {"x": {"match": {"commands": ["*"]}}}},
    rules=Rules(policy="manual"),
    call=ToolCall(kind=CallKind.EXECUTE, command="ls"),
    given_before=[Allowance(gates=["repo:x"])],
)
@given(data=files, rules=all_rules, call=calls, given_before=allowances)
def test_nothing_that_was_asked_or_denied_becomes_allowed(
    data: dict[str, object], rules: Rules, call: ToolCall, given_before: list[Allowance]
) -> None:
    """For any file, rules, call and consent given before."""
    left = narrow_by(rules, Confines(), data).rules
    before = judge(call, rules, given_before, WORKSPACE, HOME).verdict
    after = judge(call, left, given_before, WORKSPACE, HOME).verdict
    assert STRICT[after] >= STRICT[before]


def called(patterns: list[str], host: str, port: int) -> bool:
    """Return whether the way out lets a host be called."""
    return any(pattern.fits(egress.Host(host, port)) for pattern in egress.patterns_of(patterns))


@given(
    data=files,
    mine=hosts,
    host=st.sampled_from(["a.org", "b.a.org", "c.b.a.org", "xa.org", "org"]),
    port=st.sampled_from([80, 443, 22]),
)
def test_nothing_is_confined_less(
    data: dict[str, object], mine: list[str], host: str, port: int
) -> None:
    """No host more, no limit greater, no branch less protected, no other level."""
    before = Confines(hosts=mine, limits=Limits(cpu=2.0))
    after = narrow_by(Rules(), before, data).confines
    assert called(after.hosts, host, port) <= called(mine, host, port)
    stated = data.get("hosts")
    if isinstance(stated, list) and stated and all(each in HOSTS for each in stated):
        both = called(mine, host, port) and called(stated, host, port)
        assert called(after.hosts, host, port) == both
    for name in Limits.__struct_fields__:
        assert getattr(after.limits, name) <= getattr(before.limits, name)
    assert set(before.protected) <= set(after.protected)
    assert after.level is before.level
    assert msgspec.convert(msgspec.to_builtins(after), Confines) == after


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_whatever_make_it_raise(text: bytes) -> None:
    """Nor widen."""
    found = narrow(Rules(policy="auto_with_gates"), Confines(), text)
    assert found.rules.policy in {"auto_with_gates", "manual"}
    assert all(line.isprintable() for line in (*found.changes, *found.refused))


def test_names_of_its_gates_fit_where_gates_are_named() -> None:
    """64 characters, prefix and all."""
    longest = "a" * 50
    found = narrow_by(Rules(), Confines(), {"gates": {longest: {"match": {"paths": ["x"]}}}})
    assert [rule.name for rule in found.rules.own] == [PREFIX + longest]
