"""The reference page of gates, drawn from the rules themselves."""

from __future__ import annotations

from typing import Final

from pandar_daemon.domain.gate_rules import GATES, RULES, UNCLASSIFIED
from pandar_daemon.domain.guard_denials import DENIALS

_MADE: Final = "<!-- Made by `make generate` from the code; do not edit. -->"
_ABOUT: Final = """
# Gates
A task stops at the gates it names in `metadata.gates`, at all of them when it names none. What
cannot be classified stops it in any case, unless its `approval_policy` is `auto`. A project's own
gates, and what is never done, stand in [`pandar.toml`](settings.md#pandartoml).
[How approvals work](../explanation/approvals.md).
"""
_NEVER: Final = """## denied
What the [command guard](../explanation/guard.md) denies to everybody, under every policy.
"""


def gates_page() -> str:
    """Return the page."""
    gates = "\n".join(f"| `{gate.name}` | {gate.about} |" for gate in GATES.values())
    parts = [f"{_MADE}\n{_ABOUT}", f"| gate | touched when |\n| --- | --- |\n{gates}\n"]
    parts += [_rules(gate) for gate in (*GATES, UNCLASSIFIED)]
    return "\n".join(part for part in [*parts, _denials()] if part)


def _denials() -> str:
    rows = [f"| `{rule}` | {why} |" for rule, why in DENIALS.items()]
    return "\n".join([_NEVER, "| rule | says |\n| --- | --- |", *rows, ""])


def _rules(gate: str) -> str:
    rows = [
        f"| `{rule}` | {severity} | {why} |"
        for rule, (severity, why) in RULES.items()
        if rule.partition(".")[0] == gate
    ]
    if not rows:
        return ""
    head = "| rule | severity | says |\n| --- | --- | --- |"
    return "\n".join([f"## {gate}", head, *rows, ""])
