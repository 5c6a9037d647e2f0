"""What a repository says about its own tasks, in ``.pandar.toml``: it may only narrow.

The file is an agent's, or a stranger's: whatever it holds, nothing that was asked about or denied
becomes allowed, no host is called that was not to be, no limit grows. What would widen is ignored
and told, and so is what nobody understands. Rules of a repository have names of their own
(``repo:…``): people who consent to one of them consent to nothing of the owner's.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from events.calls import GATE_NAMES, GateRule, Match, Rules, Severity
from events.confinement import HOSTS_MAX, Confines, Host, Limits
from pandar_daemon.domain.confining import Wish
from pandar_daemon.domain.host_patterns import common

FILE: Final = ".pandar.toml"
SIZE_MAX: Final = 65_536
PREFIX: Final = "repo:"
POLICIES: Final = ("auto", "auto_with_gates", "manual")
"""From the widest to the narrowest; what is none of them is the narrowest."""
RULES_MAX: Final = 50
PATTERNS_MAX: Final = 200
"""Of all its rules together: each is tried on every call."""
PROTECTED_MAX: Final = 100
SAID_MAX: Final = 20

T = TypeVar("T")
Pattern = Annotated[str, Meta(min_length=1, max_length=255)]

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,49}")
_LISTS: Final = ("tools", "commands", "paths", "hosts")


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A gate, or what is never done; how grave it is the owner's rules alone say."""

    match: Match
    severity: Severity = Severity.LOW
    why: Annotated[str, Meta(max_length=200)] = ""


class Narrowed(Struct, frozen=True, kw_only=True):
    """What a task is judged by and confined to in the end, and what the file did, for people."""

    rules: Rules
    confines: Confines
    changes: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def narrow(rules: Rules, confines: Confines, text: bytes) -> Narrowed:
    """Return what is left under a file; never raises.

    A file that is no TOML, or too long, cannot say how it narrows: then everything is asked about.
    """
    if len(text) > SIZE_MAX:
        return unreadable(rules, confines, f"it has more than {SIZE_MAX} bytes")
    try:
        data = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        return unreadable(rules, confines, f"it is no TOML: {_shown(str(error))}")
    return narrow_by(rules, confines, data)


def unreadable(rules: Rules, confines: Confines, why: str) -> Narrowed:
    """Return what is left under a file that nobody can read, and ``why``."""
    found = narrow_by(rules, confines, {"policy": POLICIES[-1]})
    return msgspec.structs.replace(found, refused=(why, *found.refused))


def narrow_by(rules: Rules, confines: Confines, data: Mapping[str, object]) -> Narrowed:
    """Return what is left under the tables of a file; never raises."""
    narrowing = _Narrowing(rules, confines)
    for key in (each for each in data if each not in _KEYS):
        narrowing.refused.append(f"{_shown(key)} is not known here: {', '.join(_KEYS)} are")
    for key in (each for each in _KEYS if each in data):
        getattr(narrowing, key)(data[key])
    return Narrowed(
        rules=narrowing.rules,
        confines=narrowing.confines,
        changes=_some(narrowing.changes),
        refused=_some(narrowing.refused),
    )


class _Narrowing:
    """The state between the keys; a method for each."""

    def __init__(self, rules: Rules, confines: Confines) -> None:
        self.rules = rules
        self.confines = confines
        self.changes: list[str] = []
        self.refused: list[str] = []

    def policy(self, value: object) -> None:
        """Take a policy that asks about more."""
        if not isinstance(value, str) or value not in POLICIES:
            self.refused.append(f"policy: expected one of {', '.join(POLICIES)}")
        elif _rank(value) > _rank(self.rules.policy):
            self.changes.append(f"policy {self.rules.policy} → {value}")
            self._rule(policy=value)
        elif _rank(value) < _rank(self.rules.policy):
            self.refused.append(f"policy {value} would ask about less than {self.rules.policy}")

    def stop_at(self, value: object) -> None:
        """Stop at more of the gates there are."""
        names = self._read("stop_at", value, list[Pattern])
        if names is None or not self._stops_at_gates("stop_at"):
            return
        known = {*GATE_NAMES, *(rule.name for rule in self.rules.own)}
        for name in names:
            if name not in known:
                self.refused.append(f"stop_at: {_shown(name)} is no gate")
            elif self.rules.gates and name not in self.rules.gates:
                self._rule(gates=[*self.rules.gates, name])
                self.changes.append(f"stops at {name}")

    def gates(self, value: object) -> None:
        """Stop at more than there are gates for."""
        if isinstance(value, list):
            self.stop_at(value)
            return
        if not self._stops_at_gates("gates"):
            return
        for rule in self._rules_in("gates", value, {rule.name for rule in self.rules.own}):
            if self.rules.gates:
                self._rule(gates=[*self.rules.gates, rule.name])
            self._rule(own=[*self.rules.own, rule])
            self.changes.append(f"stops at {rule.name}")

    def deny(self, value: object) -> None:
        """Never do more than is never done."""
        for rule in self._rules_in("deny", value, {rule.name for rule in self.rules.denied}):
            self._rule(denied=[*self.rules.denied, rule])
            self.changes.append(f"never does {rule.name}")

    def hosts(self, value: object) -> None:
        """Call fewer."""
        wanted = self._read("hosts", value, list[Host])
        if wanted is None:
            return
        before = self.confines.hosts
        left, foreign = common(before, wanted[:HOSTS_MAX])
        self.refused += [f"hosts: {_shown(each)} was not to be called anyway" for each in foreign]
        if left != list(before):
            self._confine(hosts=left)
            self.changes.append(f"calls only {', '.join(map(_shown, left)) or 'nobody'}")

    def limits(self, value: object) -> None:
        """Use less."""
        if not isinstance(value, dict):
            self.refused.append("limits: expected a table")
            return
        for name, stated in value.items():
            if name not in Limits.__struct_fields__:
                self.refused.append(f"limits: {_shown(name)} is not known")
                continue
            wish = self._read(f"limits.{name}", {name: stated}, Wish)
            if wish is not None and getattr(wish, name) is not None:
                self._limit(name, getattr(wish, name))

    def _limit(self, name: str, wanted: float) -> None:
        before = getattr(self.confines.limits, name)
        if before is not None and wanted > before:
            self.refused.append(f"limits: {name} {wanted} is more than {before}")
        elif before is None or wanted < before:
            self._confine(limits=msgspec.structs.replace(self.confines.limits, **{name: wanted}))
            self.changes.append(f"{name} at most {wanted}")

    def protected(self, value: object) -> None:
        """Push to fewer branches unasked."""
        names = self._read("protected", value, list[Pattern])
        for name in (names or ())[:PROTECTED_MAX]:
            if name not in self.confines.protected:
                self._confine(protected=[*self.confines.protected, name])
                self.changes.append(f"protects {_shown(name)}")

    # --- what they share ---

    def _stops_at_gates(self, key: str) -> bool:
        if self.rules.policy == "auto":
            self.refused.append(f"{key}: policy auto stops at no gate; state a policy as well")
        elif self.rules.policy != "auto_with_gates":
            # Consent to a gate of the file's would be consent to a call that is asked about anyway.
            self.refused.append(f"{key}: every call is asked about already")
        return self.rules.policy == "auto_with_gates"

    def _rules_in(self, key: str, value: object, taken: set[str]) -> Iterator[GateRule]:
        if not isinstance(value, dict):
            self.refused.append(f"{key}: expected tables")
            return
        count, patterns = 0, 0
        for name, table in value.items():
            rule = self._read_rule(f"{key}.{_shown(name)}", name, table)
            if rule is None:
                continue
            count, patterns = count + 1, patterns + _patterns(rule.match)
            if count > RULES_MAX or patterns > PATTERNS_MAX:
                self.refused.append(f"{key}: {RULES_MAX} rules of {PATTERNS_MAX} patterns at most")
                return
            if PREFIX + name in taken:
                self.refused.append(f"{key}: {PREFIX}{name} is there already")
                continue
            why = f"the repository says: {' '.join(rule.why.split())}" if rule.why else ""
            yield GateRule(
                name=PREFIX + name,
                match=rule.match,
                severity=Severity.LOW,
                why=why or "a rule of the repository",
            )

    def _read_rule(self, path: str, name: str, table: object) -> Rule | None:
        if not _NAME.fullmatch(name):
            self.refused.append(f"{path}: expected a name of [a-z0-9_-], 50 characters at most")
            return None
        rule = self._read(path, table, Rule)
        if rule is not None and rule.match == Match():
            self.refused.append(f"{path}: must state one of kinds, tools, commands, paths, hosts")
            return None
        return rule

    def _read(self, path: str, value: object, kind: type[T]) -> T | None:
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            self.refused.append(f"{path}: {_shown(str(error), 200)}")
            return None

    def _rule(self, **changes: object) -> None:
        self.rules = msgspec.structs.replace(self.rules, **changes)

    def _confine(self, **changes: object) -> None:
        self.confines = msgspec.structs.replace(self.confines, **changes)


_KEYS: Final = ("policy", "stop_at", "gates", "deny", "hosts", "limits", "protected")


def _rank(policy: str) -> int:
    return POLICIES.index(policy) if policy in POLICIES else len(POLICIES) - 1


def _patterns(match: Match) -> int:
    return sum(1 for _ in chain.from_iterable(getattr(match, each) for each in _LISTS))


def _some(said: list[str]) -> tuple[str, ...]:
    more = len(said) - SAID_MAX
    return (*said[:SAID_MAX], f"and {more} more") if more > 0 else tuple(said)


def _shown(text: str, limit: int = 60) -> str:
    """Return text of the file as it can be shown anywhere."""
    return ascii(text[:limit])[1:-1]
