"""Which calls a rule of configuration is about.

A rule that stops or forbids fits broadly: a command as it stands, and each program it runs with
its wrappers off, by path or by name; a path as written, absolute, and from the workspace.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct

from events.calls import GateRule, Match, ToolCall
from pandar_daemon.domain.gate_paths import paths_in
from pandar_daemon.domain.shell_run import Run
from pandar_daemon.domain.shell_runs import KEYWORDS
from pandar_daemon.domain.shell_words import split

_HOST = re.compile(r"(?:\w[\w+.-]*://)?(?:[^/@\s]*@)?(\[[^\]]*\]|[\w.-]+)(?::[\w-]+)?(?:/.*)?")


class Part(Struct, frozen=True):
    """What of a call a rule is about: the words of a simple command, or one path or host.

    ``fixed``: a shell puts nothing in place of any of it.
    """

    words: tuple[str, ...] = ()
    fixed: bool = True


def matches(match: Match, call: ToolCall, command: Sequence[Run], workspace: str) -> Iterator[Part]:
    """Yield the parts of a call that a rule is about: of each list stated, one item must fit.

    ``command`` is what the call's text runs. A rule that states nothing fits every call. Patterns
    of paths are of absolute ones, or of those from ``workspace``.
    """
    if match.kinds and call.kind not in match.kinds:
        return
    if match.tools and not _any_fits(match.tools, [call.tool]):
        return
    lists = [
        found
        for patterns, found in (
            (match.commands, _commands(match.commands, command)),
            (match.paths, _paths(match.paths, call, command, workspace)),
            (match.hosts, _hosts(match.hosts, call, command)),
        )
        if patterns
    ]
    if all(lists):
        yield from lists[0] if lists else [Part()]


def allowed(rules: Sequence[GateRule], call: ToolCall) -> str:
    """Return the name of the first rule that allows a call, empty when none does.

    A rule that allows fits narrowly: the call is one simple command whose every word is what the
    program gets, nothing is redirected, and the words fit a pattern as they stand.
    """
    simple = split(call.command)
    if (
        len(simple) != 1
        or not simple[0].whole
        or simple[0].redirects
        or simple[0].ends.strip(";\n")
    ):
        return ""
    words = simple[0].words
    if not all(word.fixed for word in words) or words[0].text in KEYWORDS:
        return ""
    texts = tuple(word.text for word in words)
    for rule in rules:
        kinds, tools = rule.match.kinds, rule.match.tools
        if (kinds and call.kind not in kinds) or (tools and not _any_fits(tools, [call.tool])):
            continue
        if any(fits_words(pattern, texts) for pattern in rule.match.commands):
            return rule.name
    return ""


def fits_words(pattern: str, words: Sequence[str]) -> bool:
    """Tell whether a pattern fits words one by one: ``*`` stays within a word.

    A last word that is ``*`` alone fits all that follow.
    """
    wanted = pattern.split()
    if wanted and wanted[-1] == "*":
        wanted, words = wanted[:-1], words[: len(wanted) - 1]
    return len(wanted) == len(words) and all(map(fnmatchcase, words, wanted))


def _part(run: Run) -> Part:
    return Part(tuple(word.text for word in run.written), all(word.fixed for word in run.written))


def _commands(patterns: Sequence[str], command: Sequence[Run]) -> list[Part]:
    return [_part(run) for run in command if _any_fits(patterns, _forms(run))]


def _forms(run: Run) -> list[str]:
    """Return the texts a run is known by."""
    words = [word.text for word in run.words]
    named = [run.name, *words[1:]]
    return [" ".join(form) for form in ([w.text for w in run.written], words, named) if form]


def _paths(
    patterns: Sequence[str], call: ToolCall, command: Sequence[Run], workspace: str
) -> list[Part]:
    here = posixpath.join(workspace or "/", call.cwd)

    def fits(path: str) -> bool:
        return _any_fits(patterns, _spellings(path, here, workspace))

    found = [Part((path,)) for path in call.paths if fits(path)]
    return found + [_part(run) for run in command if any(map(fits, _paths_of(run)))]


def _paths_of(run: Run) -> Iterator[str]:
    for word in (*run.words, *(redirect.target for redirect in run.redirects)):
        yield from paths_in(word)


def _spellings(path: str, here: str, workspace: str) -> list[str]:
    """Return a path as it stands, absolute, and from the workspace."""
    if not path:
        return []
    absolute = posixpath.normpath(posixpath.join(here, path))
    inside = absolute.removeprefix(posixpath.normpath(workspace or "/").rstrip("/") + "/")
    return [path, absolute, inside]


def _hosts(patterns: Sequence[str], call: ToolCall, command: Sequence[Run]) -> list[Part]:
    def fits(host: str) -> bool:
        return _any_fits(patterns, [host, host.partition(":")[0]])

    found = [Part((host,)) for host in call.hosts if fits(host)]
    return found + [_part(run) for run in command if any(map(fits, _hosts_of(run)))]


def _hosts_of(run: Run) -> Iterator[str]:
    for word in run.arguments:
        for part in (word.text, word.text.partition("=")[2]):
            if part and (match := _HOST.fullmatch(part)):
                yield match[1].lower()


def _any_fits(patterns: Iterable[str], texts: Iterable[str]) -> bool:
    texts = list(texts)
    return any(fnmatchcase(text, pattern) for pattern in patterns for text in texts)
