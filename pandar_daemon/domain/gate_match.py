"""Which calls a rule of configuration is about.

A rule that stops or forbids fits broadly: a command as it stands, and each program it runs with
its wrappers off, by path or by name; a path as written and absolute.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from events.calls import Match, ToolCall
from pandar_daemon.domain.gate_paths import paths_in
from pandar_daemon.domain.shell_run import Run

Part = tuple[str, ...]

_HOST = re.compile(r"(?:\w[\w+.-]*://)?(?:[^/@\s]*@)?(\[[^\]]*\]|[\w.-]+)(?::[\w-]+)?(?:/.*)?")


def matches(match: Match, call: ToolCall, command: Sequence[Run]) -> Iterator[Part]:
    """Yield the parts of a call that a rule is about: of each list stated, one item must fit.

    ``command`` is what the call's text runs. A rule that states nothing fits every call.
    """
    if match.kinds and call.kind not in match.kinds:
        return
    if match.tools and not _any_fits(match.tools, [call.tool]):
        return
    lists = [
        found
        for patterns, found in (
            (match.commands, _commands(match.commands, command)),
            (match.paths, _paths(match.paths, call, command)),
            (match.hosts, _hosts(match.hosts, call, command)),
        )
        if patterns
    ]
    if all(lists):
        yield from lists[0] if lists else [()]


def _commands(patterns: Sequence[str], command: Sequence[Run]) -> list[Part]:
    return [
        tuple(word.text for word in run.written)
        for run in command
        if _any_fits(patterns, _forms(run))
    ]


def _forms(run: Run) -> list[str]:
    """Return the texts a run is known by."""
    words = [word.text for word in run.words]
    named = [run.name, *words[1:]]
    return [" ".join(form) for form in ([w.text for w in run.written], words, named) if form]


def _paths(patterns: Sequence[str], call: ToolCall, command: Sequence[Run]) -> list[Part]:
    words = [word for run in command for word in (*run.words, *(r.target for r in run.redirects))]
    named = [*call.paths, *(path for word in words for path in paths_in(word))]
    return [(path,) for path in named if _any_fits(patterns, _spellings(path, call.cwd))]


def _spellings(path: str, cwd: str) -> list[str]:
    spelt = [path, posixpath.normpath(path)] if path else []
    return [*spelt, posixpath.normpath(posixpath.join(cwd or "/", path))] if spelt else []


def _hosts(patterns: Sequence[str], call: ToolCall, command: Sequence[Run]) -> list[Part]:
    named = [*call.hosts, *(host for run in command for host in _hosts_in(run))]
    return [(host,) for host in named if _any_fits(patterns, [host, host.partition(":")[0]])]


def _hosts_in(run: Run) -> Iterator[str]:
    for word in run.arguments:
        for part in (word.text, word.text.partition("=")[2]):
            if part and (match := _HOST.fullmatch(part)):
                yield match[1].lower()


def _any_fits(patterns: Iterable[str], texts: Iterable[str]) -> bool:
    texts = list(texts)
    return any(fnmatchcase(text, pattern) for pattern in patterns for text in texts)
