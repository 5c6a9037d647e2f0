"""Which gates a tool call touches: the classifier.

Pure, and the same for a call that is judged now and for one recorded a month ago. Shell text is
looked into command by command; what nobody can tell touches `UNCLASSIFIED`. It is a guard against
accidents and carelessness; the wall is the sandbox, which holds no secret and no way out.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from events.calls import LIST_MAX, TEXT_MAX, CallKind, Rules, ToolCall
from pandar_daemon.domain.gate_elsewhere import elsewhere
from pandar_daemon.domain.gate_match import matches
from pandar_daemon.domain.gate_moves import of_moves, runs_of
from pandar_daemon.domain.gate_paths import (
    Place,
    deleted,
    is_secret,
    normal,
    paths_in,
    place_of,
    resolved,
    written,
)
from pandar_daemon.domain.gate_programs import rules_of
from pandar_daemon.domain.gate_rules import GATES, RULES, UNCLASSIFIED, Gate, Touch, touch
from pandar_daemon.domain.gate_tables import (
    COMPILER,
    COMPILERS,
    HARMLESS_SETTINGS,
    NAMES_ONLY,
    PATTERN_FIRST,
    SETTING_FAMILIES,
    SETTINGS,
)
from pandar_daemon.domain.gate_walk import Known, walked
from pandar_daemon.domain.gate_writes import deleted_by, written_by
from pandar_daemon.domain.shell_run import Run
from pandar_daemon.domain.shell_second import doubts
from pandar_daemon.domain.shell_words import Redirect, Word

__all__ = ["GATES", "NETWORK", "RULES", "UNCLASSIFIED", "Gate", "Touch", "rules_at", "touched"]

_CHANGING: Final = frozenset({CallKind.EDIT, CallKind.DELETE, CallKind.MOVE})
_SAYS_NOTHING: Final = frozenset({CallKind.EXECUTE, CallKind.OTHER})
NETWORK: Final = "network"
"""The tool of a call at the proxy of a box: from there, this machine's own loopback is outside."""
_LOCAL: Final = re.compile(
    r"(?:(?:.*\.)?localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?|::1", re.IGNORECASE
)
_SECRET_VARIABLE: Final = re.compile(
    r"(?:.*_)?(?:SECRET|TOKEN|PASSWORD|PASSWD|PASSPHRASE|PASS|PWD|CREDENTIALS?|APIKEY|KEY|AUTH|PAT)"
    r"(?:_.*)?"
)
_NO_SECRET: Final = frozenset({"PWD", "OLDPWD", "KEY"})
_FROM_DIFF: Final = re.compile(r"^(?:\+\+\+|---) (?:[ab]/)?([^\t\n]+)", re.MULTILINE)


def touched(call: ToolCall, rules: Rules, workspace: str, home: str) -> tuple[Touch, ...]:
    """Return every gate a call touches, in the registry or of the project's own, and why.

    ``workspace`` and ``home`` are absolute. Never raises; takes time in proportion to the call.
    """
    place = place_of(call.cwd, workspace, home)
    command = runs_of(call)
    found = [
        *(of_moves(call.moves) if call.moves else _of_text(call.command, command, place)),
        *_of_call(call, place),
        *_own(call, command, rules, workspace),
    ]
    return tuple(dict.fromkeys(found))


def _own(call: ToolCall, command: Sequence[Run], rules: Rules, workspace: str) -> Iterator[Touch]:
    for rule in rules.own:
        why = rule.why or "a rule of the project"
        for part in matches(rule.match, call, command, workspace):
            name = f"own.{rule.name}"
            yield Touch(rule.name, name, rule.severity, why, part.words, part.fixed)


def _of_text(text: str, command: Sequence[Run], place: Place) -> Iterator[Touch]:
    yield from _of_command(command, place)
    yield from map(touch, doubts(text))


# --- the call itself --------------------------------------------------------------------------


def _of_call(call: ToolCall, place: Place) -> Iterator[Touch]:
    if len(call.command) >= TEXT_MAX or max(len(call.paths), len(call.hosts)) >= LIST_MAX:
        yield touch("unclassified.cut")
    if not call.command:
        yield from _of_kind(call)
        yield from _of_hosts(call)
    for path in _paths(call):
        part = (normal(posixpath.join(place.here[0], path)),)
        if is_secret(path):
            yield touch("secrets_access.file", part)
        if call.kind in _CHANGING and (rule := _change(call, path, place)):
            yield touch(rule, part)


def _of_kind(call: ToolCall) -> Iterator[Touch]:
    if call.kind is CallKind.EXECUTE:
        yield touch("unclassified.nothing")
    elif call.kind is CallKind.OTHER:
        yield touch("unclassified.tool")
    elif call.kind in _CHANGING and not _paths(call):
        yield touch("unclassified.nothing")


def _of_hosts(call: ToolCall) -> Iterator[Touch]:
    inside = call.tool != NETWORK
    remote = [host for host in call.hosts if not (inside and _LOCAL.fullmatch(host))]
    yield from (touch("network_egress.host", (host,)) for host in remote)
    if call.kind is CallKind.FETCH and not call.hosts:
        yield touch("network_egress.host")


def _paths(call: ToolCall) -> list[str]:
    named = _FROM_DIFF.findall(call.diff) if call.kind in _CHANGING else []
    return list(dict.fromkeys([*call.paths, *(p for p in named if p != "/dev/null")][:LIST_MAX]))


def _change(call: ToolCall, path: str, place: Place) -> str:
    gone = call.kind is CallKind.DELETE or (call.kind is CallKind.MOVE and path in call.paths[:1])
    return deleted(path, place) if gone else written(path, place)


# --- a command --------------------------------------------------------------------------------


def _of_command(command: Sequence[Run], place: Place) -> Iterator[Touch]:
    for run, now, known in walked(command, place):
        words = run.written[: _PART_MAX + 1]
        part = tuple(word.text for word in words[:_PART_MAX])
        fixed = all(word.fixed for word in words) and all(map(place.owns, now.here))
        fixed &= len(words) <= _PART_MAX
        for rule in dict.fromkeys(rules_at(run, now, known)):
            yield touch(rule, part, fixed=fixed and bool(now.here))


_PART_MAX: Final = 100
"""Words of a command that a part of a call names."""


def rules_at(run: Run, place: Place, known: Known) -> Iterator[str]:
    """Yield the rules a run touches where it is; some twice."""
    yield from run.rules
    if not run.followed:
        yield from rules_of(run.words)
    yield from _of_settings(run)
    yield from _of_secrets(run, place, known)
    yield from elsewhere(run, place)
    for word in written_by(run.words):
        yield from _target(word, place, known, written)
    for word in deleted_by(run.words):
        yield from _target(word, place, known, deleted)
    for redirect in run.redirects:
        yield from _redirected(redirect, place, known)


def _target(
    word: Word, place: Place, known: Known, rule_of: Callable[[str, Place], str]
) -> Iterator[str]:
    paths = resolved(word, known)
    if paths is None:
        yield "unclassified.target"
    else:
        yield from (rule for path in paths if path and (rule := rule_of(path, place)))


def _redirected(redirect: Redirect, place: Place, known: Known) -> Iterator[str]:
    target = redirect.target
    if target.text.startswith(("/dev/tcp/", "/dev/udp/")):
        yield "network_egress.upload"
    elif redirect.operator.startswith("<") and redirect.operator != "<>":
        if redirect.operator == "<" and is_secret(target.text):
            yield "secrets_access.file"
    elif not (redirect.operator.endswith("&") and re.fullmatch(r"\d+|-|\d+-", target.text)):
        yield from _target(target, place, known, written)
        if is_secret(target.text):
            yield "secrets_access.file"


def _of_settings(run: Run) -> Iterator[str]:
    """Yield what giving values to variables touches."""
    words = [*run.settings]
    if run.name in _NAMING or (run.name == "printf" and run.arguments[:1] == (Word("-v"),)):
        words += run.arguments
    for word in words:
        name = word.text.partition("=")[0].rstrip("+").partition("[")[0]
        changes = name in SETTINGS or name.startswith(SETTING_FAMILIES)
        if changes and name not in HARMLESS_SETTINGS and not _HARMLESS_VALUE.fullmatch(word.text):
            yield "unclassified.settings"
        if name in COMPILERS and not COMPILER.fullmatch(word.text.partition("=")[2]):
            yield "unclassified.settings"
        if word.known and ("$(" in word.text or "`" in word.text):
            yield "unclassified.inline_code"  # a shell that takes it for a number runs it


_NAMING: Final = frozenset(
    {
        *("export", "declare", "typeset", "local", "readonly", "read", "unset", "let", "test", "["),
        *("[[", "for", "select", "mapfile", "readarray", "getopts"),
    }
)
"""Builtins whose arguments are names of variables, or numbers."""
_HARMLESS_VALUE: Final = re.compile(r"NODE_OPTIONS=--max[-_]old[-_]space[-_]size=\d+")


def _of_secrets(run: Run, place: Place, known: Known) -> Iterator[str]:
    words = [*run.words, *run.settings, *(r.target for r in run.redirects)]
    shown = {name for word in words for name in word.variables}
    if run.name in {"export", "declare", "typeset", "printenv"}:
        shown |= {word.text for word in run.arguments}
    if any(_SECRET_VARIABLE.fullmatch(name) and name not in _NO_SECRET for name in shown):
        yield "secrets_access.variable"
    if run.name not in NAMES_ONLY and any(
        _is_secret(text, place) for word in _opened(run) for text in _texts(word, known)
    ):
        yield "secrets_access.file"


def _texts(word: Word, known: Known) -> Sequence[str]:
    return resolved(word, known) or [word.text]


def _is_secret(text: str, place: Place) -> bool:
    return any(
        is_secret(path) or any(map(is_secret, place.absolute(path) if place.away else ()))
        for path in paths_in(Word(text))
    )


def _opened(run: Run) -> Sequence[Word]:
    """Return the arguments that may name files."""
    if run.name not in PATTERN_FIRST:
        return run.arguments
    first = next((i for i, w in enumerate(run.arguments) if not w.text.startswith("-")), 0)
    return run.arguments[first + 1 :]
