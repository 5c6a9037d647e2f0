"""Whether a box may call a host: by its list, by what is never done, by the gates of its task."""

from __future__ import annotations

from typing import Final

from events.calls import CallKind, Rules, ToolCall, Verdict
from pandar_daemon.domain.egress import Host
from pandar_daemon.domain.gates import GATES, NETWORK
from pandar_daemon.domain.judging import judge

GATE: Final = "network_egress"


def call_of(called: Host) -> ToolCall:
    """Return what is asked for when a host is: this one host and port."""
    return ToolCall(
        kind=CallKind.FETCH, tool=NETWORK, title=f"Connect to {called}", hosts=[str(called)]
    )


def opens(rules: Rules) -> bool:
    """Return whether people may be asked to open a host that is not on the list."""
    if rules.policy == "auto":
        return False
    return rules.policy == "manual" or GATE in (rules.gates or GATES)


def reach(called: Host, rules: Rules, *, listed: bool) -> Verdict:
    """Return what is done about a connection: a gate of the owner's stops one to a listed host."""
    found = judge(call_of(called), rules, (), "/", "/")
    if found.verdict is Verdict.DENY:
        return Verdict.DENY
    if not listed:
        return Verdict.ASK if opens(rules) else Verdict.DENY
    own = {rule.name for rule in rules.own} & set(found.gates)
    return Verdict.ASK if own and found.verdict is Verdict.ASK else Verdict.ALLOW
