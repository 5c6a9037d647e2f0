"""What is done about a call, by example, and in which order the rules speak."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.calls import (
    Allowance,
    CallKind,
    GateRule,
    Match,
    Rules,
    Severity,
    ToolCall,
    Verdict,
)
from pandar_daemon.domain.gates import GATES
from pandar_daemon.domain.judging import Judgement, judge, rules_of
from tests.support.calls import HOME, WORKSPACE, change, command

PUSH = "git_push_protected"
DROP = GateRule(
    name="no_drop", match=Match(commands=["*drop*"]), severity=Severity.CRITICAL, why="never drop"
)
BILLING = GateRule(name="billing", match=Match(paths=["src/billing/*"]), severity=Severity.HIGH)


def judged(call: ToolCall | str, rules: Rules = Rules(), *allowances: Allowance) -> Judgement:  # noqa: B008 - frozen
    """Return the judgement on a call, of a command where it is a text."""
    call = command(call) if isinstance(call, str) else call
    return judge(call, rules, allowances, WORKSPACE, HOME)


def verdict(call: ToolCall | str, rules: Rules = Rules(), *allowances: Allowance) -> Verdict:  # noqa: B008 - frozen
    """Return the verdict alone."""
    return judged(call, rules, *allowances).verdict


def consent(*gates: str, pattern: str = "") -> Allowance:
    """Return consent that was given beforehand in a confirmation."""
    return Allowance(gates=list(gates), pattern=pattern, confirmation_id="c-1")


def test_auto_allows_and_still_says_what_was_touched() -> None:
    """Policy `auto` asks about nothing; what is recorded names the gates."""
    found = judged("git push", Rules(policy="auto"))
    assert (found.verdict, found.rule, found.gates) == (Verdict.ALLOW, "policy.auto", [PUSH])


def test_manual_asks_about_everything() -> None:
    """Under `manual` reading a file is asked about too, at a gate of that name."""
    found = judged(change(CallKind.READ, "a.py"), Rules(policy="manual"))
    assert (found.verdict, found.rule, found.gates) == (Verdict.ASK, "policy.manual", ["manual"])
    assert judged("git push", Rules(policy="manual")).gates == [PUSH]


def test_an_unknown_policy_asks() -> None:
    """What is none of the policies there are is the strictest."""
    assert verdict("ls", Rules(policy="yolo")) is Verdict.ASK


def test_named_gates_stop_and_others_do_not() -> None:
    """A task stops at the gates it names, and is told the rule."""
    rules = Rules(gates=["secrets_access"])
    stopped, passed = judged("cat .env", rules), judged("git push", rules)
    assert (stopped.verdict, stopped.rule) == (Verdict.ASK, "secrets_access.file")
    assert stopped.severity is Severity.HIGH
    assert stopped.why == "names a file that holds secrets"
    assert (passed.verdict, passed.rule) == (Verdict.ALLOW, "policy.auto_with_gates")
    assert passed.gates == [PUSH]


def test_no_gates_means_all_of_them() -> None:
    """Without a list every gate of the registry stops, and those of the project's own."""
    assert verdict("git push") is Verdict.ASK
    assert verdict(change(CallKind.EDIT, "src/billing/a"), Rules(own=[BILLING])) is Verdict.ASK
    assert verdict("pytest -q && git commit -m x") is Verdict.ALLOW


def test_own_gates_stop_where_they_are_named() -> None:
    """A gate of a project's own counts as those of the registry do."""
    edit = change(CallKind.EDIT, "src/billing/a")
    assert verdict(edit, Rules(own=[BILLING], gates=[PUSH])) is Verdict.ALLOW
    named = judged(edit, Rules(own=[BILLING], gates=["billing"]))
    assert (named.verdict, named.rule, named.gates) == (Verdict.ASK, "own.billing", ["billing"])


def test_what_nobody_can_tell_is_always_asked() -> None:
    """Whatever gates a task names, a doubt is asked about, not allowed."""
    found = judged("./deploy.sh", Rules(gates=["secrets_access"]))
    assert (found.verdict, found.rule) == (Verdict.ASK, "unclassified.script")


def test_the_gravest_gate_comes_first() -> None:
    """Of several gates the card shows the gravest; the consent is asked for all of them."""
    found = judged("git fetch && cat .env && git push --force")
    assert found.gates == [PUSH, "secrets_access", "network_egress"]
    assert (found.rule, found.severity) == ("git_push_protected.force", Severity.CRITICAL)


def test_denied_is_denied_whatever_anybody_said() -> None:
    """No policy and no consent overrides what configuration denies."""
    everything = consent(*GATES, "unclassified", "manual", "no_drop")
    for policy in ("auto", "manual", "auto_with_gates"):
        found = judged("db drop x", Rules(policy=policy, denied=[DROP]), everything)
        assert (found.verdict, found.rule, found.why) == (
            Verdict.DENY,
            "deny.no_drop",
            "never drop",
        )
        assert found.severity is Severity.CRITICAL
    assert verdict("bash -c 'timeout 5 db drop x'", Rules(denied=[DROP])) is Verdict.DENY
    assert verdict("ls", Rules(denied=[DROP])) is Verdict.ALLOW


def test_consent_lets_pass_and_is_named() -> None:
    """A call that consent covers is allowed, by that consent and no other rule."""
    given_before = consent(PUSH)
    found = judged("git push", Rules(), given_before)
    assert (found.verdict, found.rule) == (Verdict.ALLOW, "allowance.c-1")
    assert found.allowance == given_before
    grant = Allowance(gates=[PUSH], grant_id="g-1", confirmation_id="c-1")
    assert judged("git push", Rules(), grant).rule == "allowance.g-1"


def test_consent_is_for_its_gates_only() -> None:
    """A call that touches one more gate than consent was given for is asked about."""
    assert verdict("git push && cat .env", Rules(), consent(PUSH)) is Verdict.ASK
    both = consent(PUSH, "secrets_access")
    assert verdict("git push && cat .env", Rules(), both) is Verdict.ALLOW
    halves = (consent(PUSH), consent("secrets_access"))
    assert verdict("git push && cat .env", Rules(), *halves) is Verdict.ASK


def test_consent_counts_under_manual_too() -> None:
    """Whoever approved all of an execution is not asked again, whatever the policy."""
    manual = Rules(policy="manual")
    assert verdict("ls", manual, consent("manual")) is Verdict.ALLOW
    assert verdict("git push", manual, consent("manual")) is Verdict.ASK
    assert verdict("ls -l src", manual, consent("manual", pattern="ls *")) is Verdict.ALLOW
    assert verdict("ls src; cat x", manual, consent("manual", pattern="ls *")) is Verdict.ASK
    read = change(CallKind.READ, "src/a.py")
    assert verdict(read, manual, consent("manual", pattern="src/*")) is Verdict.ALLOW
    assert verdict(read, manual, consent("manual", pattern="docs/*")) is Verdict.ASK


FITS = [
    ("git push origin pandar/*", "git push origin pandar/x", True),
    ("git push origin pandar/*", "cd src && git push origin pandar/x && ls", True),
    ("git push origin pandar/*", "git push origin pandar/x > out.txt", True),
    ("git push origin pandar/*", "bash -c 'git push origin pandar/x'", False),
    ("git push origin pandar/*", "git push origin main", False),
    ("git push origin pandar/*", "git push origin pandar/x main", False),
    ("git push origin pandar/*", "git push origin pandar/x --force", False),
    ("git push origin pandar/*", "git push origin pandar/x:main", True),
    ("git push origin pandar/?", "git push origin pandar/x:main", False),
    ("git push origin pandar/*", "git push origin pandar/x && rm -rf y", False),
    ("git push origin pandar/*", "git push origin pandar/x; git push origin main", False),
    ("git push origin pandar/*", "git push origin pandar/$x", False),
    ("git push origin pandar/*", "git push origin pandar/$(cat x)", False),
    ("git push origin pandar/*", "git push origin pandar/{a,b}", False),
    ("git push origin pandar/*", "A=1 git push origin pandar/x", False),
    ("git push origin pandar/*", "timeout 5 git push origin pandar/x", False),
    ("git push origin pandar/*", "cd /opt/other && git push origin pandar/x", False),
    ("git push origin pandar/*", "xargs git push origin pandar/x", False),
    ("git push *", "git push origin x --force", True),
    ("git push *", "git push", True),
    ("git push *", "git pull", False),
    ("git push*", "git push", True),
    ("git push*", "git push origin", False),
    ("*", "git push origin x", True),
    ("curl https://a.example/*", "curl https://a.example/x", True),
    ("curl https://a.example/*", "curl https://a.example/x https://b.example", False),
    ("./deploy.sh *", "./deploy.sh prod", True),
    ("./deploy.sh *", "./deploy.sh prod; ./other.sh", False),
    ("rm -r build", "rm -r build", True),
    ("rm -r build", "rm -r build src", False),
]


@pytest.mark.parametrize(("pattern", "text", "fits"), FITS)
def test_a_pattern_has_to_fit_every_part(pattern: str, text: str, *, fits: bool) -> None:
    """Consent for a pattern covers a command only if all of it that touches a gate fits."""
    allowance = consent(*GATES, "unclassified", pattern=pattern)
    assert (verdict(text, Rules(), allowance) is Verdict.ALLOW) is fits


def test_a_pattern_fits_gates_that_do_not_stop_too() -> None:
    """Where a task names one gate only, its consent still is for nothing else in the command."""
    rules, allowance = Rules(gates=[PUSH]), consent(PUSH, pattern="git push origin pandar/*")
    assert verdict("git push origin pandar/x", rules, allowance) is Verdict.ALLOW
    assert verdict("git push origin pandar/x && rm -rf y", rules, allowance) is Verdict.ASK


def test_a_pattern_fits_paths_and_hosts() -> None:
    """Of a call that is no command each path and host that touches a gate has to fit."""
    outside = consent("outside_workspace", pattern="/srv/docs/*")
    assert verdict(change(CallKind.EDIT, "/srv/docs/a"), Rules(), outside) is Verdict.ALLOW
    assert verdict(change(CallKind.EDIT, "../docs/a"), Rules(), outside) is Verdict.ALLOW
    assert verdict(change(CallKind.EDIT, "/srv/docs/../x"), Rules(), outside) is Verdict.ASK
    two = change(CallKind.EDIT, "/srv/docs/a", "/srv/x")
    assert verdict(two, Rules(), outside) is Verdict.ASK
    host = consent("network_egress", pattern="*.example")
    fetch = ToolCall(kind=CallKind.FETCH, hosts=["a.example"])
    assert verdict(fetch, Rules(), host) is Verdict.ALLOW
    assert verdict(ToolCall(kind=CallKind.FETCH), Rules(), host) is Verdict.ASK


def test_a_pattern_fits_gates_of_a_projects_own() -> None:
    """At a gate of the project's own a pattern is for the same parts as anywhere."""
    rules = Rules(own=[BILLING], gates=["billing"])
    consented = consent("billing", pattern="sed -i * src/billing/*")
    assert verdict("sed -i s/a/b/ src/billing/a", rules, consented) is Verdict.ALLOW
    assert verdict("sed -i s/a/b/ src/billing/$x", rules, consented) is Verdict.ASK
    assert verdict("sed -i s/a/b/ src/billing/a; rm src/billing/b", rules, consented) is Verdict.ASK


def test_rules_of_a_task() -> None:
    """Without a policy it is `auto_with_gates`; lists are taken as they are."""
    assert rules_of(None, []) == Rules()
    assert rules_of("manual", [PUSH], [BILLING], [DROP]) == Rules(
        policy="manual", gates=[PUSH], own=[BILLING], denied=[DROP]
    )


@given(
    st.text(max_size=60),
    st.sampled_from(["auto", "manual", "auto_with_gates"]),
    st.text(max_size=20),
)
def test_never_raises(text: str, policy: str, pattern: str) -> None:
    """Whatever is judged, there is a verdict and a rule."""
    allowance = consent(*GATES, "manual", "unclassified", pattern=pattern)
    found = judged(text, Rules(policy=policy, denied=[DROP], own=[BILLING]), allowance)
    assert found.rule
    assert found.gates or found.verdict is Verdict.ALLOW


@pytest.mark.parametrize("policy", ["auto", "manual", "auto_with_gates"])
def test_what_the_guard_denies_is_denied_under_every_policy(policy: str) -> None:
    """Neither a policy nor consent nor a rule that allows is stronger."""
    allowing = GateRule(name="all", match=Match(commands=["rm *", "sudo *"]))
    rules = Rules(policy=policy, allowed=[allowing])
    for text, rule in (("rm -r /etc", "denied.delete"), ("sudo id", "denied.elevation")):
        found = judged(text, rules, consent("destructive_fs", "unclassified"))
        assert (found.verdict, found.rule) == (Verdict.DENY, rule)


def test_the_owner_allows_what_would_be_asked() -> None:
    """One simple command that fits passes, and says by which rule; more than it does not."""
    rules = Rules(allowed=[GateRule(name="seed", match=Match(commands=["./seed *"]))])
    found = judged("./seed small", rules)
    assert (found.verdict, found.rule) == (Verdict.ALLOW, "allow.seed")
    for text in ("./seed small; ./other", "./seed $x", "./seed > /etc/x", "./seed 'a"):
        assert judged(text, rules).verdict is Verdict.ASK
