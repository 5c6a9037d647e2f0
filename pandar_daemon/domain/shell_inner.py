"""Shells and interpreters: what they are told to run, and when nobody can tell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from pandar_daemon.domain.shell_run import Run, doubt
from pandar_daemon.domain.shell_words import Word
from pandar_daemon.domain.shell_wrappers import PYTHON_MODULES, PYTHON_OPTIONS, SHELL_OPTIONS

UNKNOWN: Final = Word("", known=False)
"""Stands for words that only the program that puts them there knows."""
PYTHON: Final = re.compile(r"(?:python|pypy)[\d.]*\Z")
INTERPRETERS: Final = re.compile(
    r"(?:node|nodejs|deno|bun|perl|ruby|php|lua|luajit|Rscript|R|julia|osascript|tclsh|wish|guile"
    r"|groovy|scala|java|ghci|runghc|runhaskell|irb|swift|elixir|erl|pwsh|expect)[\d.]*\Z"
)
_ACTIVATE: Final = re.compile(r"(?:[\w.-]+/)*bin/activate(?:\.\w+)?\Z")


def split_text(words: Sequence[Word]) -> str | None:
    """Return the text that ``env -S`` splits into words, with what follows it."""
    for i, word in enumerate(words):
        for option in ("--split-string=", "-S", "-vS"):
            if word.text.startswith(option) or word.text == "--split-string":
                first = word.text.removeprefix("--split-string").removeprefix(option).lstrip("=")
                return " ".join([first, *(w.text for w in words[i + 1 :])])
        if not word.text.startswith("-"):
            return None
    return None


def shell_text(run: Run) -> Word | str:
    """Return what a shell is told to run, or the rule of what cannot be seen."""
    words, at, reads = run.words, 1, False
    while at < len(words) and words[at].text[:1] in {"-", "+"} and words[at].text != "-":
        option = words[at].text
        if option in {"--version", "--help"}:
            return Word(":")
        if option.startswith("-") and not option.startswith("--") and "c" in option:
            return _after_c(words, at)
        length = SHELL_OPTIONS.length(option.replace("s", "") if option != "-s" else "-e")
        if length is None or not words[at].fixed:
            return "unclassified.options"
        reads |= not option.startswith("--") and "s" in option
        at += length
    if at < len(words) and words[at].text != "-" and not reads:
        return "unclassified.script"
    return _stdin(run) or "unclassified.stdin"


def _after_c(words: Sequence[Word], at: int) -> Word | str:
    """Return the text of ``-c``: the first word behind all options."""
    at += 1
    while at < len(words) and words[at].text[:1] in {"-", "+"}:
        at += SHELL_OPTIONS.length(words[at].text) or 1
    return words[at] if at < len(words) else "unclassified.options"


def _stdin(run: Run) -> Word | None:
    """Return the text a program reads, where it stands in the command."""
    for redirect in reversed(run.redirects):
        if redirect.operator == "<<<":
            return redirect.target
        if redirect.operator in {"<<", "<<-"}:
            expands = "$" in redirect.body or "`" in redirect.body
            return Word(redirect.body, known=not expands)
    return None


def source(run: Run) -> Iterator[Run]:
    """Yield what reading a script into the shell is: a doubt, but for that of a virtualenv."""
    path = run.arguments[0] if run.arguments else Word("")
    fine = path.fixed and _ACTIVATE.match(path.text) and ".." not in path.text
    yield run if fine else doubt(run, "unclassified.script")


def python(run: Run) -> Run:
    """Return the module that ``-m`` names as the program, or a doubt."""
    at, words = 1, run.words
    while at < len(words) and words[at].text.startswith("-") and words[at].fixed:
        option = words[at].text
        if option in {"--version", "-V", "--help", "-h"}:
            return msgspec.structs.replace(run, followed=True)
        if option == "-m":
            return _module(run, at + 1)
        length = PYTHON_OPTIONS.length(option)
        if length is None or option == "-":
            return doubt(run, "unclassified.stdin" if option == "-" else "unclassified.inline_code")
        at += length
    return doubt(run, "unclassified.script" if at < len(words) else "unclassified.stdin")


def _module(run: Run, at: int) -> Run:
    """Return the module as the program where it is one of those that are known."""
    if run.words[at:] and run.words[at].fixed and run.words[at].text in PYTHON_MODULES:
        return msgspec.structs.replace(run, words=run.words[at:])
    return doubt(run, "unclassified.module")


_ONLY_ASKS: Final = frozenset({"--version", "-version", "-v", "-V", "--help", "-h"})
_CHECKS: Final = {
    "node": frozenset({"--test", "--check"}),
    "php": frozenset({"-l"}),
    "deno": frozenset({"test", "lint", "fmt", "check", "doc", "info", "types"}),
    "bun": frozenset({"test"}),
    "swift": frozenset({"build", "test"}),
}
"""First arguments with which an interpreter runs the tests of a project, or nothing."""
_BUN: Final = frozenset({"install", "i", "add", "update", "publish", "run", "remove", "pm"})


def interpreter(run: Run) -> Run:
    """Return the run with a doubt, unless it only asks something, or runs a project's tests."""
    first = run.arguments[0] if run.arguments else Word("")
    asks = len(run.words) == 2 and first.text in _ONLY_ASKS  # noqa: PLR2004 - it and its question
    if asks or (first.fixed and first.text in _CHECKS.get(run.name, ())):
        return msgspec.structs.replace(run, followed=True)
    if run.name == "bun" and first.text in _BUN:
        return run
    if not run.arguments:
        return doubt(run, "unclassified.stdin")
    inline = first.text.startswith("-")
    return doubt(run, "unclassified.inline_code" if inline else "unclassified.script")


_FIND_EXEC: Final = frozenset({"-exec", "-execdir", "-ok", "-okdir"})
_FD_EXEC: Final = frozenset({"-x", "-X", "--exec", "--exec-batch"})


def executed(run: Run) -> Iterator[Run]:
    """Yield what ``find -exec`` and ``fd -x`` run on what they find."""
    starts = {"find": _FIND_EXEC, "fd": _FD_EXEC, "fdfind": _FD_EXEC}.get(run.name)
    if starts is None:
        return
    at, words = 1, run.words
    while at < len(words):
        if words[at].text in starts:
            end = next((j for j in range(at, len(words)) if words[j].text in _ENDS), len(words))
            found = tuple(_found(run) if "{}" in w.text else w for w in words[at + 1 : end])
            yield Run(
                words=found if run.name == "find" else (*found, UNKNOWN),
                written=run.written,
                settings=run.settings,
                scope=run.scope,
            )
            at = end
        at += 1


def _found(run: Run) -> Word:
    """Return what stands for a file that is found: where it lies is known, if it is said first."""
    start = run.words[1] if len(run.words) > 1 else UNKNOWN
    fine = run.name == "find" and start.fixed and not start.text.startswith("-")
    return Word(f"{start.text}/{{}}", known=False) if fine else UNKNOWN


_ENDS: Final = frozenset({";", "+"})
