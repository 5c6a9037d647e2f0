"""What is done about a tool call: allowed, asked about, or denied, and by which rule.

In this order: what configuration or the guard denies is denied, whatever anybody consented to.
Policy `auto` allows all the rest. Else a call that stops (`manual`: every one; `auto_with_gates`:
one that touches a gate of the task's, or that nobody can classify) is allowed only by
configuration, or by consent given before, that covers all of what stops it.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

from msgspec import Struct

from events.calls import Allowance, GateRule, Rules, Severity, ToolCall, Verdict
from pandar_daemon.domain.gate_match import allowed, fits_words, matches
from pandar_daemon.domain.gate_moves import runs_of
from pandar_daemon.domain.gate_paths import place_of
from pandar_daemon.domain.gates import GATES, UNCLASSIFIED, Touch, touched
from pandar_daemon.domain.guard import NEVER_EXCUSED, Decision, check
from pandar_daemon.domain.shell_runs import runs

MANUAL: Final = "manual"
"""The gate of a call that stops for nothing but the policy `manual`."""
_AUTO, _WITH_GATES = "auto", "auto_with_gates"
_ORDER: Final = list(Severity)


class Judgement(Struct, frozen=True, kw_only=True):
    """A verdict and its rule.

    ``gates`` are those that stop it, the gravest first; those it touches when it is allowed.
    """

    verdict: Verdict
    rule: str
    gates: list[str] = []
    severity: Severity = Severity.LOW
    why: str = ""
    allowance: Allowance | None = None


def rules_of(
    policy: str | None,
    gates: Sequence[str],
    own: Sequence[GateRule] = (),
    denied: Sequence[GateRule] = (),
    allowed: Sequence[GateRule] = (),
) -> Rules:
    """Return the rules of a task: no policy means `auto_with_gates`, no gates all there are."""
    return Rules(
        policy=policy or _WITH_GATES,
        gates=list(gates),
        own=list(own),
        denied=list(denied),
        allowed=list(allowed),
    )


def judge(
    call: ToolCall, rules: Rules, allowances: Sequence[Allowance], workspace: str, home: str
) -> Judgement:
    """Return what is done about a call; never raises, and the same for the same arguments."""
    denied = _denied(call, rules, workspace) or _never(call, workspace, home)
    if denied is not None:
        return denied
    found = sorted(touched(call, rules, workspace, home), key=_gravest)
    if rules.policy == _AUTO:
        return _allowed("policy.auto", found)
    stops = _stopping(call, rules, found)
    if not stops:
        return _allowed(f"policy.{rules.policy}", found)
    if not any(touch.rule in NEVER_EXCUSED for touch in stops) and (
        name := allowed(rules.allowed, call)
    ):
        return _allowed(f"allow.{name}", stops)
    for allowance in allowances:
        if covers(allowance, stops, found or stops):
            name = allowance.grant_id or allowance.confirmation_id
            return _allowed(f"allowance.{name}", stops, allowance)
    first = stops[0]
    return Judgement(
        verdict=Verdict.ASK,
        rule=first.rule,
        gates=_gates(stops),
        severity=first.severity,
        why=_why(stops),
    )


def _gravest(touch: Touch) -> int:
    return -_ORDER.index(touch.severity)


def _denied(call: ToolCall, rules: Rules, workspace: str) -> Judgement | None:
    command = runs_of(call) if rules.denied else []
    for rule in rules.denied:
        if next(matches(rule.match, call, command, workspace), None) is not None:
            return Judgement(
                verdict=Verdict.DENY,
                rule=f"deny.{rule.name}",
                gates=[rule.name],
                severity=rule.severity,
                why=rule.why or f"the configuration denies {rule.name}",
            )
    return None


def _never(call: ToolCall, workspace: str, home: str) -> Judgement | None:
    """Return the denial of what the guard denies to everybody."""
    if not call.command:
        return None
    found = check(call.command, place=place_of(call.cwd, workspace, home), filed=False)
    if found.decision is not Decision.DENY:
        return None
    return Judgement(
        verdict=Verdict.DENY, rule=found.rule, severity=Severity.CRITICAL, why=f"it {found.why}"
    )


def _allowed(rule: str, found: Sequence[Touch], allowance: Allowance | None = None) -> Judgement:
    return Judgement(
        verdict=Verdict.ALLOW,
        rule=rule,
        gates=_gates(found),
        severity=found[0].severity if found else Severity.LOW,
        why=_why(found),
        allowance=allowance,
    )


def _stopping(call: ToolCall, rules: Rules, found: Sequence[Touch]) -> list[Touch]:
    """Return what a call stops for, the gravest first."""
    if rules.policy == _WITH_GATES:
        named = set(rules.gates or (*GATES, *(rule.name for rule in rules.own)))
        return [touch for touch in found if touch.gate in named | {UNCLASSIFIED}]
    return list(found) or [_manual(call, part) for part in _parts(call)]


def _manual(call: ToolCall, part: tuple[tuple[str, ...], bool]) -> Touch:
    why = f"every {call.kind} is asked about"
    return Touch(MANUAL, "policy.manual", Severity.LOW, why, part[0], part[1])


def _parts(call: ToolCall) -> list[tuple[tuple[str, ...], bool]]:
    """Return what a pattern has to fit of a call that touches nothing."""
    if call.command:
        written = [run.written for run in runs(call.command)]
        return [(tuple(w.text for w in ws), all(w.fixed for w in ws)) for ws in written] or [
            ((), True)
        ]
    return [((name,), True) for name in (*call.paths, *call.hosts)] or [((), True)]


def _gates(found: Sequence[Touch]) -> list[str]:
    return list(dict.fromkeys(touch.gate for touch in found))


def _why(found: Sequence[Touch]) -> str:
    return "; ".join(dict.fromkeys(touch.why for touch in found))


def covers(allowance: Allowance, stops: Sequence[Touch], found: Sequence[Touch]) -> bool:
    """Tell whether consent given before is for all of what a call stops for.

    A pattern has to fit every part of the call that touches any gate, ``found``: word by word,
    ``*`` within one word; a last word that is ``*`` alone fits all that follow. What a shell may
    still change fits no pattern.
    """
    if not all(touch.gate in allowance.gates for touch in stops):
        return False
    return not allowance.pattern or all(_fits(allowance.pattern, touch) for touch in found)


def _fits(pattern: str, touch: Touch) -> bool:
    if not touch.fixed or not touch.part:
        return False
    if len(touch.part) == 1 and fnmatchcase(touch.part[0], pattern):
        return True
    return fits_words(pattern, touch.part)
