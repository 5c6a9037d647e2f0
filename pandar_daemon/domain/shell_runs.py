"""Every program a shell text runs: wrappers taken off, the texts of inner shells looked into.

What cannot be followed is a doubt: an expansion for a program's name, an option nobody knows
before it, code for an interpreter, a script whose content is not here.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final

import msgspec

from pandar_daemon.domain.shell_inner import (
    INTERPRETERS,
    PYTHON,
    UNKNOWN,
    executed,
    interpreter,
    python,
    shell_text,
    source,
    split_text,
)
from pandar_daemon.domain.shell_run import Run, doubt
from pandar_daemon.domain.shell_words import Simple, Word, split
from pandar_daemon.domain.shell_wrappers import RUNNERS, SHELLS, WRAPPERS, Wrapper

NESTING_MAX: Final = 5
"""Shells within shells that are looked into."""
_LAYERS_MAX: Final = 20
"""Wrappers round one program."""

KEYWORDS: Final = frozenset(
    {
        *("!", "{", "then", "do", "else", "elif", "if", "while", "until", "coproc"),
        *("}", "fi", "done", "esac"),
    }
)
"""Words after which a command begins, or nothing but redirections comes."""

ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*(?:\[[^\]]*\])?\+?=")


def runs(text: str) -> list[Run]:
    """Return what a text runs, in the order it stands there; never raises."""
    return list(_followed(text))


@lru_cache(maxsize=8)
def _followed(text: str) -> tuple[Run, ...]:
    return tuple(_Follower().text(text, 0, ()))


def innermost(words: Sequence[Word]) -> int:
    """Return how many words of a simple command are keywords and assignments before the rest."""
    at = 0
    while at < len(words) and (words[at].text in KEYWORDS or ASSIGNMENT.match(words[at].text)):
        at += 1
    return at


class _Follower:
    """Follows one text; ``inner`` counts the shells it went into."""

    def __init__(self) -> None:
        self.inner = 0

    def text(self, text: str, depth: int, scope: tuple[int, ...]) -> Iterator[Run]:
        if depth > NESTING_MAX:
            yield Run(rules=("unclassified.nesting",))
            return
        for simple in split(text):
            yield from self._simple(simple, depth, scope)

    def _simple(self, simple: Simple, depth: int, scope: tuple[int, ...]) -> Iterator[Run]:
        at = innermost(simple.words)
        run = Run(
            words=simple.words[at:],
            written=simple.words,
            redirects=simple.redirects,
            settings=tuple(w for w in simple.words[:at] if w.text not in KEYWORDS),
            rules=() if simple.whole else ("unclassified.unfinished",),
            ends=simple.ends,
            scope=scope + simple.scope,
        )
        yield from self._follow(run, depth)

    def _follow(self, run: Run, depth: int) -> Iterator[Run]:
        """Take off wrapper after wrapper; yield what runs, and what it runs in turn."""
        for _ in range(_LAYERS_MAX if depth <= NESTING_MAX else 0):
            if run.words and not run.words[0].fixed:
                yield doubt(run, "unclassified.expansion")
                return
            run = _placed(run)
            wrapper, own = _wrapper(run)
            if wrapper is None:
                yield from self._program(run, depth)
                return
            inner = self._unwrap(run, wrapper, own)
            if isinstance(inner, str):
                yield from self._texts(run, [inner], depth)
                return
            if inner is None:
                yield run
                return
            run = inner
        yield doubt(run, "unclassified.nesting")

    def _unwrap(self, run: Run, wrapper: Wrapper, own: int) -> Run | str | None:
        """Return what is wrapped: a program, or a text; ``None`` when it runs nothing."""
        if any(word.text in wrapper.lookups for word in run.words[own : own + 1]):
            return None
        if run.name == "env" and (text := split_text(run.words[own:])) is not None:
            return text
        at = wrapper.options.skip(run.words, own)
        if wrapper.becomes:
            at = wrapper.options.known(run.words, own)  # what follows is the other program's
        if at is None:
            return _perhaps(run)
        at += wrapper.operands
        if run.name == "watch" and all(word.known for word in run.words[at:]):
            return " ".join(word.text for word in run.words[at:])
        while run.name == "env" and at < len(run.words) and ASSIGNMENT.match(run.words[at].text):
            at += 1
        if run.name == "env" and at >= len(run.words):
            return None  # alone it shows the environment
        settings = (w for w in run.words[own:at] if ASSIGNMENT.match(w.text))
        rules = {wrapper.rule, *(wrapper.rules.get(w.text, "") for w in run.words[own:at])} - {""}
        inner = run.words[at:]
        if wrapper.adds:
            inner = _replaced(inner, run.words[own:at])
        elif wrapper.becomes:
            inner = (Word(wrapper.becomes), *inner)
        return msgspec.structs.replace(
            run,
            words=inner,
            settings=(*run.settings, *settings),
            rules=(*run.rules, *sorted(rules)),
        )

    def _program(self, run: Run, depth: int) -> Iterator[Run]:
        name = run.name
        if name in SHELLS:
            yield from self._shell(run, depth)
        elif name == "eval":
            yield from self._eval(run, depth)
        elif name == "trap":
            yield from self._trap(run, depth)
        elif name in {"source", "."}:
            yield from source(run)
        elif PYTHON.match(name):
            inner = python(run)
            yield from [inner] if inner.words == run.words else self._follow(inner, depth + 1)
        elif INTERPRETERS.match(name):
            yield interpreter(run)
        else:
            yield run
            for inner in executed(run):
                yield from self._follow(inner, depth + 1)

    def _texts(self, run: Run, texts: Iterable[str], depth: int) -> Iterator[Run]:
        """Yield the run itself, then what the texts run, each in a subshell of its own."""
        yield msgspec.structs.replace(run, followed=True)
        for text in texts:
            self.inner -= 1
            for inner in self.text(text, depth + 1, (*run.scope, self.inner)):
                yield msgspec.structs.replace(
                    inner, written=run.written, settings=(*run.settings, *inner.settings)
                )

    def _eval(self, run: Run, depth: int) -> Iterator[Run]:
        if all(word.fixed for word in run.arguments):
            yield from self._texts(run, [" ".join(w.text for w in run.arguments)], depth)
        else:
            yield doubt(run, "unclassified.inline_code")

    def _trap(self, run: Run, depth: int) -> Iterator[Run]:
        words = [word for word in run.arguments if word.text not in {"--", "-", "-l", "-p"}][:1]
        if all(word.known for word in words):
            yield from self._texts(run, [word.text for word in words], depth)
        else:
            yield doubt(run, "unclassified.inline_code")

    def _shell(self, run: Run, depth: int) -> Iterator[Run]:
        text = shell_text(run)
        if isinstance(text, Word):
            if text.known:
                yield from self._texts(run, [text.text], depth)
            else:
                yield doubt(run, "unclassified.inline_code")
        else:
            yield doubt(run, text)


def _placed(run: Run) -> Run:
    """Return the run, with a doubt where a program of that name should not be."""
    path = run.words[0].text if run.words else ""
    if "/" not in path or posixpath.dirname(posixpath.normpath(path)) in _SYSTEM_FOLDERS:
        return run
    if _PROJECT_TOOL.fullmatch(path) and "/../" not in path:
        return run
    return msgspec.structs.replace(run, rules=(*run.rules, "unclassified.script"))


def _perhaps(run: Run) -> Run:
    """Return a wrapper whose options nobody knows: any of its words may be the program."""
    rules = (*run.rules, "unclassified.options")
    return msgspec.structs.replace(run, words=(Word("?"), *run.words[1:]), rules=rules)


def _replaced(words: Sequence[Word], options: Sequence[Word]) -> tuple[Word, ...]:
    """Return what ``xargs`` runs: words nobody knows are added, or stand where it is told."""
    if not words:
        return ()
    marks = [_MARK.sub("", word.text) or "{}" for word in options if _MARK.match(word.text)]
    marks += [b.text for a, b in pairwise(options) if a.text in {"-I", "-J"}]
    if not marks:
        return (*words, UNKNOWN)
    return tuple(UNKNOWN if any(mark in w.text for mark in marks) else w for w in words)


_MARK: Final = re.compile(r"-[IJi]|--replace=?")
_SYSTEM_FOLDERS: Final = frozenset({"/bin", "/usr/bin", "/usr/local/bin", "/sbin", "/usr/sbin"})
_PROJECT_TOOL: Final = re.compile(
    r"(?:[\w./-]*/)?(?:\.?venv/bin|node_modules/\.bin|vendor/bin)/[\w.-]+|\./(?:gradlew|mvnw)"
)


def _wrapper(run: Run) -> tuple[Wrapper | None, int]:
    """Return the wrapper a run begins with, and how many words name it."""
    if run.name in WRAPPERS:
        return WRAPPERS[run.name], 1
    words = (run.name, *(word.text for word in run.words[1:3]))
    for count in (3, 2, 1):
        if len(words) >= count and words[:count] in RUNNERS:
            return RUNNERS[words[:count]], count
    return None, 0
