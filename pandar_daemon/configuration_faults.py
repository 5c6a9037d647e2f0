"""What a configuration can say and cannot mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from events.calls import GATE_NAMES, Match
from events.problem import FieldError
from pandar_daemon.domain.egress import fault_of
from pandar_daemon.domain.gate_rules import UNCLASSIFIED
from pandar_daemon.domain.judging import MANUAL

if TYPE_CHECKING:
    from pandar_daemon.configuration import Configuration, GateTable


def senseless(found: Configuration) -> list[FieldError]:
    """Return faults of what can be read and cannot be meant."""
    return [
        *_taken(found),
        *_unknown(found),
        *_unmatched(found),
        *_no_hosts(found),
        *_too_wide(found),
    ]


def _no_hosts(found: Configuration) -> Iterator[FieldError]:
    """Yield each text that names no host, or too many."""
    lists = [("sandbox.hosts", found.sandbox.hosts)]
    lists += [("sandbox.private_hosts", found.sandbox.private_hosts)]
    lists += [(f"projects.{number}.hosts", p.hosts) for number, p in found.projects.items()]
    lists += [(f"agents.{name}.hosts", a.hosts) for name, a in found.agents.items()]
    for path, hosts in lists:
        for n, host in enumerate(hosts):
            if fault := fault_of(host):
                yield FieldError(field=f"{path}[{n}]", rule=fault)
    for n, host in enumerate(found.sandbox.private_hosts):
        if host.startswith("*."):
            rule = f"{host} is not one host: name each"
            yield FieldError(field=f"sandbox.private_hosts[{n}]", rule=rule)


_TAKEN: Final = frozenset({*GATE_NAMES, UNCLASSIFIED, MANUAL})


def _taken(found: Configuration) -> Iterator[FieldError]:
    for path, tables in _gates_in(found):
        for name in sorted(_TAKEN & tables.keys()):
            yield FieldError(field=f"{path}.{name}", rule="is the name of a gate there is already")


def _unknown(found: Configuration) -> Iterator[FieldError]:
    known = {*GATE_NAMES, *(name for _, tables in _gates_in(found) for name in tables)}
    for name in found.stops or []:
        if name not in known:
            rule = f"{name} is no gate; there are {', '.join(sorted(known))}"
            yield FieldError(field="gates" if found.stop_at is None else "stop_at", rule=rule)


def _unmatched(found: Configuration) -> Iterator[FieldError]:
    """Yield each rule without a match: it would be about every call there is."""
    denied = [("deny", found.deny)]
    denied += [(f"projects.{number}.deny", p.deny) for number, p in found.projects.items()]
    for path, tables in [*_gates_in(found), *denied]:
        for name, table in tables.items():
            if table.match == Match():
                rule = "must state one of kinds, tools, commands, paths, hosts"
                yield FieldError(field=f"{path}.{name}.match", rule=rule)


def _too_wide(found: Configuration) -> Iterator[FieldError]:
    """Yield each rule that allows without naming commands, or names all of them."""
    allowed = [("allow", found.allow)]
    allowed += [(f"projects.{number}.allow", p.allow) for number, p in found.projects.items()]
    for path, tables in allowed:
        for name, table in tables.items():
            field = f"{path}.{name}.match"
            if not table.match.commands or table.match.paths or table.match.hosts:
                rule = "must state commands, and no paths or hosts: they are all that it allows by"
                yield FieldError(field=field, rule=rule)
            elif any(pattern.lstrip()[:1] in {"*", "?", "["} for pattern in table.match.commands):
                rule = "must begin each command with the name of a program"
                yield FieldError(field=f"{field}.commands", rule=rule)


def _gates_in(found: Configuration) -> list[tuple[str, Mapping[str, GateTable]]]:
    own = [(f"projects.{number}.gates", p.gates) for number, p in found.projects.items()]
    return [("gates", found.own), *own]
