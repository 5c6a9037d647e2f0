"""What the command of a task may never be when it is filed: ``sudo`` and ``rm -rf``.

They are refused as words in command position, whatever they would do there. It errs on the side
of refusing in three places where plain prose reads as shell: after a line break, inside backticks,
and in the lines of a here-document. Everything finer is `guard`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pandar_daemon.domain.shell_runs import ASSIGNMENT, KEYWORDS
from pandar_daemon.domain.shell_words import split
from pandar_daemon.domain.shell_wrappers import WRAPPERS, Wrapper

_FORBIDDEN: Final = frozenset({"sudo", "doas", "su", "pkexec"})
_PLAIN: Final = Wrapper()
_BODIES_MAX: Final = 3
"""Here-documents within here-documents that are looked into."""


def dangerous(command: str) -> str | None:
    """Return the fragment of shell text that is not allowed, ``None`` when there is none.

    Never raises; takes time in proportion to the length of the text.
    """
    fragments = (_judge(_innermost(words)) for words in _commands(command, 0))
    return next((fragment for fragment in fragments if fragment), None)


def _commands(text: str, depth: int) -> Iterator[list[str]]:
    for simple in split(text):
        yield [word.text for word in simple.words]
        for redirect in simple.redirects:
            if redirect.body and depth < _BODIES_MAX:
                yield from _commands(redirect.body, depth + 1)


def _judge(words: Sequence[str]) -> str | None:
    if not words:
        return None
    name = _name(words[0])
    if name in _FORBIDDEN:
        return words[0]
    flags = _flags(words[1:]) if name == "rm" else []
    if any(map(_recursive, flags)) and any(map(_force, flags)):
        return " ".join([words[0], *flags])
    return None


def _name(word: str) -> str:
    return word.rpartition("/")[2]


def _flags(words: Sequence[str]) -> list[str]:
    """Return the options among the words; they may stand after operands, but not after ``--``."""
    end = words.index("--") if "--" in words else len(words)
    return [word for word in words[:end] if word.startswith("-") and word != "-"]


def _recursive(flag: str) -> bool:
    if flag.startswith("--"):
        return "--recursive".startswith(flag)
    return "r" in flag or "R" in flag


def _force(flag: str) -> bool:
    return "--force".startswith(flag) if flag.startswith("--") else "f" in flag


def _innermost(words: Sequence[str]) -> Sequence[str]:
    """Return what is left of keywords, assignments and wrappers: the command that runs."""
    at = 0
    while at < len(words) and _name(words[at]) not in _FORBIDDEN:
        wrapper = _PLAIN if words[at] == "eval" else WRAPPERS.get(_name(words[at]))
        if wrapper:
            at = _after(wrapper, words, at + 1)
        elif words[at] in KEYWORDS or ASSIGNMENT.match(words[at]):
            at += 1
        else:
            break
    return words[at:]


def _after(wrapper: Wrapper, words: Sequence[str], at: int) -> int:
    """Return where the wrapped command begins, past the wrapper's own options and operands.

    An option that is not known is taken for one word.
    """
    while at < len(words) and words[at].startswith("-"):
        option = words[at]
        if option == "--":
            at += 1
            break
        if option in wrapper.lookups:
            return len(words)
        at += wrapper.options.length(option) or 1
    return at + wrapper.operands
