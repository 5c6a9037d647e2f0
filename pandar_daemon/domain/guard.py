"""A first guard: refuses ``sudo`` and ``rm -rf`` as words in command position of shell text.

This is a guard against accidents. It is no wall: ``eval "$x"``, an alias or a script walk round
it, and nothing relies on it. The wall is the sandbox the command runs in. It errs on the side of
refusing in three places where plain prose reads as shell: after a line break, inside backticks,
and in the lines of a here-document.

The text is split once, left to right, into simple commands, as a POSIX shell would: quoting,
substitutions, redirections and comments are known, expansion is not. An unclosed quote swallows
the rest of the text, which a shell would not run either.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

_FORBIDDEN: Final = frozenset({"sudo", "doas", "su", "pkexec"})

_KEYWORDS: Final = frozenset(
    {"!", "{", "then", "do", "else", "elif", "if", "while", "until", "coproc"}
)
"""Words after which a command begins."""

_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*(\[[^\]]*\])?\+?=")


class _Wrapper(Struct, frozen=True):
    """A command that runs the command in its arguments."""

    valued: str = ""  # one-letter options that take the next word
    long_valued: frozenset[str] = frozenset()
    lookups: str = ""  # one-letter options with which it runs nothing
    operands: int = 0  # words of its own before the command


_WRAPPERS: Final[dict[str, _Wrapper]] = {
    "env": _Wrapper("uC", frozenset({"--unset", "--chdir"})),
    "nohup": _Wrapper(),
    "time": _Wrapper("fo", frozenset({"--format", "--output"})),
    "nice": _Wrapper("n", frozenset({"--adjustment"})),
    "timeout": _Wrapper("ks", frozenset({"--kill-after", "--signal"}), operands=1),
    "exec": _Wrapper("a"),
    "command": _Wrapper(lookups="vV"),
    "builtin": _Wrapper(),
    "eval": _Wrapper(),
    "busybox": _Wrapper(),
    "setsid": _Wrapper(),
    "stdbuf": _Wrapper("ioe", frozenset({"--input", "--output", "--error"})),
    "ionice": _Wrapper("cnpPu", frozenset({"--class", "--classdata"})),
    "xargs": _Wrapper(
        "IEndPLsa",
        frozenset({"--arg-file", "--delimiter", "--max-args", "--max-procs", "--max-chars"}),
    ),
}


def dangerous(command: str) -> str | None:
    """Return the fragment of shell text that is not allowed, ``None`` when there is none.

    Never raises; takes time in proportion to the length of the text.
    """
    for words in _split(command):
        fragment = _judge(_innermost(words))
        if fragment:
            return fragment
    return None


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
    while at < len(words):
        wrapper = _WRAPPERS.get(_name(words[at]))
        if wrapper:
            at = _after(wrapper, words, at + 1)
        elif words[at] in _KEYWORDS or _ASSIGNMENT.match(words[at]):
            at += 1
        else:
            break
    return words[at:]


def _after(wrapper: _Wrapper, words: Sequence[str], at: int) -> int:
    """Return where the wrapped command begins, past the wrapper's own options and operands."""
    while at < len(words) and words[at].startswith("-"):
        option = words[at]
        if option == "--":
            at += 1
            break
        if not option.startswith("--") and any(letter in option for letter in wrapper.lookups):
            return len(words)
        at += 2 if _takes_next(wrapper, option) else 1
    return at + wrapper.operands


def _takes_next(wrapper: _Wrapper, option: str) -> bool:
    if option.startswith("--"):
        return option in wrapper.long_valued
    valued = next((i for i, letter in enumerate(option) if letter in wrapper.valued), -1)
    return valued > 0 and valued == len(option) - 1


# --- shell text to simple commands -----------------------------------------------------------

_PLAIN: Final = re.compile(
    r"""
    (?P<gone>\\\n)
  | \\(?P<escaped>.)
  | (?P<single>\$?'(?P<verbatim>[^']*)'?)
  | (?P<quote>\$?")
  | (?P<open>[$<>]\()
  | (?P<tick>`)
  | (?P<comment>(?:(?<=[\s;&|()])|\A)\#[^\n]*)
  | (?P<redirect>&>>?|<<<|<<-?|<>|>>|>\||[<>]&?)
  | (?P<end>[;&|\n])
  | (?P<group>\()
  | (?P<close>\))
  | (?P<blank>[^\S\n]+)
  | (?P<text>[^\s\\'"`$\#<>&;|()]+|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_QUOTED: Final = re.compile(
    r"""
    (?P<gone>\\\n)
  | \\(?P<escaped>[$`"\\])
  | (?P<quote>")
  | (?P<open>\$\()
  | (?P<tick>`)
  | (?P<text>[^\\"`$]+|.)
    """,
    re.VERBOSE | re.DOTALL,
)


class _Frame(Struct):
    """A stretch of commands: the text itself, or the inside of a substitution."""

    closer: str = ""
    words: list[str] = []
    word: str | None = None
    quoted: bool = False
    target: bool = False  # the next word is where output goes, not a word of the command


class _Splitter:
    """Collects the simple commands of a text, in the order they end."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.frames = [_Frame()]

    def feed(self, kind: str, text: str) -> None:
        frame = self.frames[-1]
        if kind in {"text", "escaped", "single"}:
            frame.word = (frame.word or "") + text
        elif kind == "quote":
            frame.quoted = not frame.quoted
            frame.word = frame.word or ""
        elif kind in {"open", "group", "tick", "close"}:
            self._nest(kind)
        elif kind in {"blank", "end", "redirect"}:
            self._divide(kind)

    def _divide(self, kind: str) -> None:
        frame = self.frames[-1]
        if kind == "redirect" and (frame.word or "").isdigit():
            frame.word = None  # a file descriptor
        self._end_word()
        if kind == "end":
            self._end_command()
        frame.target = kind == "redirect" or (kind == "blank" and frame.target)

    def _nest(self, kind: str) -> None:
        closes = {"tick": "`", "close": ")"}.get(kind, "")
        if closes and closes == self.frames[-1].closer:
            self._end_command()
            self.frames.pop()
        elif kind == "close":
            self._end_command()
        else:
            self._open(kind)

    def _open(self, kind: str) -> None:
        if kind == "group":
            self._end_command()
        else:
            self.frames[-1].word = self.frames[-1].word or ""
        self.frames.append(_Frame(closer="`" if kind == "tick" else ")"))

    def _end_word(self) -> None:
        frame = self.frames[-1]
        if frame.word is not None:
            if not frame.target:
                frame.words.append(frame.word)
            frame.word, frame.target = None, False

    def _end_command(self) -> None:
        self._end_word()
        frame = self.frames[-1]
        if frame.words:
            self.commands.append(frame.words)
        frame.words, frame.target = [], False

    def finish(self) -> list[list[str]]:
        while self.frames:
            self._end_command()
            self.frames.pop()
        return self.commands


def _split(text: str) -> list[list[str]]:
    splitter, at = _Splitter(), 0
    while at < len(text):
        pattern = _QUOTED if splitter.frames[-1].quoted else _PLAIN
        match = pattern.match(text, at)
        if match is None:  # pragma: no cover - both patterns end in "any character"
            break
        kind = match.lastgroup or "text"
        splitter.feed(kind, match.group("verbatim") if kind == "single" else match.group(kind))
        at = match.end()
    return splitter.finish()
