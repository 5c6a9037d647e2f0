"""The command guard: deny, stop at a gate, ask, or allow, for the text of a command or a prompt.

A guard against accidents and carelessness, no wall; the wall is the sandbox. What is denied is
denied to everybody. What nobody can tell is asked about. What a task's own gates say of a call is
`judging`; this is the same for all tasks of a project, and needs nothing but the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Struct

from events.calls import TEXT_MAX, CallKind, Rules, Severity, ToolCall
from pandar_daemon.domain.disguise import as_seen, hides
from pandar_daemon.domain.gate_match import allowed, matches
from pandar_daemon.domain.gate_paths import Place, place_of
from pandar_daemon.domain.gate_rules import RULES, UNCLASSIFIED
from pandar_daemon.domain.gate_walk import walked
from pandar_daemon.domain.gates import rules_at
from pandar_daemon.domain.guard_denials import DENIALS, denials, executes_fetched, is_fork_bomb
from pandar_daemon.domain.guard_filing import dangerous
from pandar_daemon.domain.guard_ordinary import is_ordinary
from pandar_daemon.domain.guard_prose import (
    commands_in,
    is_mention,
    is_program,
    is_sentence,
    is_talk,
    neutral,
)
from pandar_daemon.domain.guard_words import AGENTS
from pandar_daemon.domain.guard_written import runs_written
from pandar_daemon.domain.shell_run import Run
from pandar_daemon.domain.shell_runs import runs
from pandar_daemon.domain.shell_second import doubts
from pandar_daemon.domain.shell_words import Word

_SHORT: Final = 500
SOMEWHERE: Final = place_of("", "/workspace/tree", "/workspace/home")
"""Where a command is thought to be while nobody says where it will run."""


class Decision(StrEnum):
    """What the guard says, the gravest first."""

    DENY = "deny"
    GATE = "gate"
    ASK = "ask"
    ALLOW = "allow"


class Guarded(Struct, frozen=True, kw_only=True):
    """A decision, the rule it rests on, the gates that are touched, and why in words."""

    decision: Decision
    rule: str
    gates: list[str] = []
    why: str = ""


class _Found(Struct, frozen=True):
    """One thing that was found; ``run`` is what it was found in, if in one."""

    decision: Decision
    rule: str
    why: str
    gate: str = ""


def check(
    text: str,
    rules: Rules = Rules(),  # noqa: B008 - frozen
    place: Place = SOMEWHERE,
    *,
    filed: bool = True,
) -> Guarded:
    """Return what the guard says of a text; ``filed``: it is the command of a task.

    ``rules`` are those of a project: what it denies and allows, and its own gates. Never raises;
    takes time in proportion to the length of the text.
    """
    cut = [_ask("unclassified.cut")] if len(text) > TEXT_MAX else []
    text = text[:TEXT_MAX]
    found = [*cut, *(_filed(text, rules) if filed else _denied(text, rules))]
    found += _readings(text, rules, place)
    return _sum(_excused(text, rules, found))


def refusal(command: str) -> str | None:
    """Return why a task with this command cannot be filed, ``None`` when it can.

    Never raises; takes time in proportion to the length of the command, but for a short one that
    was filed before, as many are.
    """
    return _known_refusal(command) if len(command) <= _SHORT else _refusal(command)


def _refusal(command: str) -> str | None:
    fragment = dangerous(command)
    if fragment:
        return f"must not run {fragment[:100]}"
    found = check(command, filed=False)
    return f"is refused: it {found.why}" if found.decision is Decision.DENY else None


_known_refusal = lru_cache(maxsize=1_024)(_refusal)


# --- readings ---------------------------------------------------------------------------------


def _readings(text: str, rules: Rules, place: Place) -> Iterator[_Found]:
    """Yield what is found in a text as it stands, as people mean it, and as it looks."""
    command = runs(text)
    plain = neutral(text)
    meant = runs(plain) if plain != text else command
    if is_talk(text, _first(meant)):
        told = [run for run in _both(command, meant) if not is_mention(run)]
        yield from (f for f in _of_reading(told, rules, place) if f.rule not in _OF_TALK)
    else:
        yield from _of_reading(command, rules, place)
        yield from map(_ask, doubts(text))
    if is_fork_bomb(text):
        yield _deny("denied.fork_bomb")
    yield from _looks(text, command, rules, place)


def _both(command: list[Run], meant: list[Run]) -> list[Run]:
    return command if meant is command else [*command, *meant]


_OF_TALK: Final = frozenset({"unclassified.program", "unclassified.unfinished"})
"""Doubts that sentences arouse."""


def _looks(text: str, command: list[Run], rules: Rules, place: Place) -> Iterator[_Found]:
    """Yield what is found in a text as it looks, and where no case is known, if that differs."""
    if hides(text):
        yield _ask("unclassified.disguised")
    seen, found = as_seen(text), list[_Found]()
    if seen != text:
        was, command = _first(command).name, runs(seen)
        if not dangerous(text) and (fragment := dangerous(seen)):
            yield _forced(fragment)
        if is_program(_first(command).name) and not is_program(was):
            yield _ask("unclassified.disguised")
        found += _of_reading(command, rules, place)
    if lowered := _lowered(seen, command):
        found += _of_reading(lowered, rules, place)
    yield from (each for each in found if each.decision is not Decision.ASK)


def _lowered(text: str, command: list[Run]) -> list[Run]:
    """Return the runs that are others where files are found whatever the case of their names."""
    if not any(run.name.lower() != run.name and is_program(run.name.lower()) for run in command):
        return []
    lower = runs(_HOME.sub("$HOME", text.lower()))
    if len(lower) != len(command):
        return lower
    return [run for run, was in zip(lower, command, strict=True) if not is_sentence(was)]


_HOME: Final = re.compile(r"\$home\b")


def _first(command: Iterable[Run]) -> Run:
    """Return what a text begins with, before what its substitutions run."""
    return next((run for run in command if not run.scope), Run())


# --- one reading ------------------------------------------------------------------------------


def _of_reading(command: Sequence[Run], rules: Rules, place: Place) -> Iterator[_Found]:
    touched: list[tuple[Run, list[str]]] = []
    own = {run.name for run in command if run.ends == "(" and len(run.words) == 1}
    for run, now, known in walked(command, place):
        if is_sentence(run):
            yield from _of_sentence(commands_in(run.written), place)
            run = msgspec.structs.replace(run, words=(), rules=())  # noqa: PLW2901 - what is left
        elif run.name in AGENTS:
            yield from _of_sentence(commands_in((Word(""), *run.arguments)), place)
        found = list(dict.fromkeys(rules_at(run, now, known)))
        yield from map(_deny, denials(run, now, known, found))
        if run.name in own and not is_program(run.name):
            found = [rule for rule in found if rule != "unclassified.program"]
        yield from (_of_rule(rule) for rule in found if not is_ordinary(rule, run))
        touched.append((run, found))
    if executes_fetched(touched):
        yield _deny("denied.fetch_exec")
    if runs_written(command, place):
        yield _ask("unclassified.written")
    yield from _own(command, rules)


def _of_sentence(told: Iterable[str], place: Place) -> Iterator[_Found]:
    """Yield a doubt about a sentence that tells somebody to do great harm."""
    for text in told:
        for inner, now, known in walked(runs(text), place):
            found = set(rules_at(inner, now, known))
            grave = any(RULES[rule][0] is Severity.CRITICAL or rule in _GRAVE for rule in found)
            if grave or any(denials(inner, now, known, found)):
                yield _ask("unclassified.sentence")
                return


_GRAVE: Final = frozenset({"destructive_fs.everything"})


def _own(command: Sequence[Run], rules: Rules) -> Iterator[_Found]:
    call = ToolCall(kind=CallKind.EXECUTE)
    for rule in rules.own:
        if any(matches(rule.match, call, command, SOMEWHERE.workspace)):
            why = rule.why or "a rule of the project"
            yield _Found(Decision.GATE, f"own.{rule.name}", why, rule.name)


# --- what the owner says ----------------------------------------------------------------------


def _filed(text: str, rules: Rules) -> Iterator[_Found]:
    fragment = dangerous(text)
    if fragment:
        yield _forced(fragment)
    yield from _denied(text, rules)


def _forced(fragment: str) -> _Found:
    return _deny("denied.forced" if "-" in fragment else "denied.elevation")


def _denied(text: str, rules: Rules) -> Iterator[_Found]:
    command = runs(text) if rules.denied else []
    call = ToolCall(kind=CallKind.EXECUTE, command=text)
    for rule in rules.denied:
        if any(matches(rule.match, call, command, SOMEWHERE.workspace)):
            why = rule.why or f"the configuration denies {rule.name}"
            yield _Found(Decision.DENY, f"deny.{rule.name}", why)


def _excused(text: str, rules: Rules, found: list[_Found]) -> list[_Found]:
    """Return what was found, or that the owner allows it; what is denied is never allowed."""
    if not rules.allowed or not found or any(f.decision is Decision.DENY for f in found):
        return found
    name = allowed(rules.allowed, ToolCall(kind=CallKind.EXECUTE, command=text))
    if not name or any(f.rule in NEVER_EXCUSED for f in found):
        return found
    return [_Found(Decision.ALLOW, f"allow.{name}", f"the configuration allows {name}")]


NEVER_EXCUSED: Final = frozenset(
    {
        "unclassified.cut",
        "unclassified.readers",
        "unclassified.unfinished",
        "unclassified.disguised",
    }
)
"""Doubts about what the text is, and not about what it does."""


# --- the sum ----------------------------------------------------------------------------------


def _of_rule(rule: str) -> _Found:
    gate = rule.partition(".")[0]
    if gate == UNCLASSIFIED:
        return _ask(rule)
    return _Found(Decision.GATE, rule, RULES[rule][1], gate)


def _ask(rule: str) -> _Found:
    return _Found(Decision.ASK, rule, RULES[rule][1])


def _deny(rule: str) -> _Found:
    return _Found(Decision.DENY, rule, DENIALS[rule])


_ORDER: Final = list(Decision)


def _sum(found: Iterable[_Found]) -> Guarded:
    """Return one answer: the gravest, with every reason for one as grave."""
    ordered = sorted(
        dict.fromkeys(found), key=lambda each: (_ORDER.index(each.decision), -_grave(each))
    )
    if not ordered:
        return Guarded(decision=Decision.ALLOW, rule="ordinary")
    first = ordered[0]
    same = [each for each in ordered if each.decision is first.decision]
    return Guarded(
        decision=first.decision,
        rule=first.rule,
        gates=list(dict.fromkeys(each.gate for each in ordered if each.gate)),
        why="; ".join(dict.fromkeys(each.why for each in same)),
    )


def _grave(found: _Found) -> int:
    return list(Severity).index(RULES[found.rule][0]) if found.rule in RULES else 0
