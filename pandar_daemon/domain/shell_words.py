"""Shell text to simple commands: the one place that knows how a shell reads.

The text is read once, left to right, as a POSIX shell or bash would: quoting, substitutions,
redirections, here-documents and comments are known. Nothing is expanded: what a shell would put
in place of a word stands there as it was written, and the word says that it is not `known`.
Where shells read differently, or the text ends too early, the command is not `whole`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from msgspec import Struct

from pandar_daemon.domain.shell_tokens import PLAIN, QUOTED

DEPTH_MAX: Final = 40
"""Substitutions and groups within each other; what is deeper is not whole."""
_BODIES_MAX: Final = 3
"""Here-documents within substitutions of here-documents."""


class Word(Struct, frozen=True):
    """One word of a command, its quotes removed.

    ``known``: it is what the program gets. ``pattern``: file names, or the parts of braces, come
    in its place. ``variables`` are those whose values it shows.
    """

    text: str
    known: bool = True
    pattern: bool = False
    variables: tuple[str, ...] = ()

    @property
    def fixed(self) -> bool:
        """Whether it is exactly one word, and this one."""
        return self.known and not self.pattern


class Redirect(Struct, frozen=True):
    """Where input comes from or output goes; ``body`` is that of a here-document."""

    operator: str
    target: Word
    body: str = ""


class Simple(Struct, frozen=True):
    """One command with its arguments, and where it stands.

    ``ends`` is the operator after it, ``scope`` names the subshells it is in.
    """

    words: tuple[Word, ...] = ()
    redirects: tuple[Redirect, ...] = ()
    whole: bool = True
    ends: str = ""
    scope: tuple[int, ...] = ()


def split(text: str) -> list[Simple]:
    """Return the simple commands of a text in the order they end, those of substitutions too.

    Never raises; takes time in proportion to the length of the text.
    """
    return list(_cut(text))


@lru_cache(maxsize=8)
def _cut(text: str) -> tuple[Simple, ...]:
    """Several rules look at a text in turn; it is read once."""
    return tuple(_Splitter().run(text))


_NAME: Final = re.compile(r"\w+")


class _Building(Struct):
    """A word that has not ended."""

    text: list[str] = []
    known: bool = True
    pattern: bool = False
    quoted: bool = False
    variables: list[str] = []

    def word(self) -> Word:
        text = "".join(self.text)
        pattern = self.pattern and text not in {"[", "[["}
        return Word(text, self.known, pattern, tuple(self.variables))


class _Target(Struct):
    """A redirection whose word, or whose here-document, may be still to come."""

    operator: str
    word: Word = Word("")
    quoted: bool = False
    body: str = ""


class _Frame(Struct):
    """A stretch of commands: the text itself, a group, or the inside of a substitution."""

    closer: str = ""
    number: int = 0
    words: list[Word] = []
    word: _Building | None = None
    quoted: bool = False
    target: _Target | None = None  # the next word is where output goes
    targets: list[_Target] = []


class _Ended(Struct):
    """A command that has ended; its here-documents may be still to come."""

    words: list[Word]
    targets: list[_Target]
    ends: str
    scope: tuple[int, ...]


class _Splitter:
    """Collects the simple commands of one text."""

    def __init__(self, bodies: int = 0) -> None:
        self.bodies = bodies
        self.ended: list[_Ended] = []
        self.more: list[Simple] = []
        self.frames = [_Frame()]
        self.opened = 0
        self.ticks = 0
        self.awaited: list[_Target] = []
        self.whole = True

    def run(self, text: str, *, quoted: bool = False) -> list[Simple]:
        """Return the commands of a text; of the body of a here-document when ``quoted``."""
        self.frames[0].quoted = quoted
        at = 0
        while at < len(text):
            frame = self.frames[-1]
            match = (QUOTED if frame.quoted else PLAIN).match(text, at)
            if match is None:  # pragma: no cover - both patterns end in "any character"
                break
            at = match.end()
            kind = match.lastgroup or "text"
            if quoted and kind == "quote" and len(self.frames) == 1:
                kind = "text"  # a quote is nothing special there
            self._feed(kind, match)
            if match[0] == "\n" and kind == "end" and self.awaited:
                at = self._read_bodies(text, at)
        return self._finish(quoted=quoted)

    def _feed(self, kind: str, match: re.Match[str]) -> None:
        frame = self.frames[-1]
        if kind in {"text", "pattern", "escaped", "single_end", "ansi_end"}:
            self._take_text(kind, match)
        elif kind in {"variable", "arithmetic", "braced"}:
            self._take_expansion(kind, match[0])
        elif kind == "quote":
            frame.quoted = not frame.quoted
            self._word().quoted = True
        elif kind in {"open", "group", "tick", "close"}:
            self._nest(kind)
        elif kind == "redirect":
            self._redirect(match[0])
        elif kind == "blank":
            self._end_word()
        elif kind == "end":
            self._end_command(match[0])

    def _word(self) -> _Building:
        frame = self.frames[-1]
        if frame.word is None:
            frame.word = _Building()
        return frame.word

    def _take_text(self, kind: str, match: re.Match[str]) -> None:
        word = self._word()
        group = {"single_end": "single", "ansi_end": "ansi"}.get(kind, kind)
        word.text.append(match[group])
        word.pattern |= kind == "pattern"
        word.quoted |= kind not in {"text", "pattern"}
        if kind == "escaped" and self.ticks and match[group] in "`$\\":
            self.whole = False  # within backticks it is taken away before the rest is read
        if kind in {"single_end", "ansi_end"}:
            self.whole &= bool(match[kind])
        if kind == "ansi_end" and "\\" in match["ansi"]:
            word.known = False
            self.whole &= "\\'" not in match["ansi"]  # without $'…' this would end the quote

    def _take_expansion(self, kind: str, text: str) -> None:
        word = self._word()
        word.text.append(text)
        word.known = False
        if kind == "variable":
            word.variables += _NAME.findall(text)[:1]
        self.whole &= kind != "braced"  # what is within may be anything

    def _nest(self, kind: str) -> None:
        closes = {"tick": "`", "close": ")"}.get(kind, "")
        if closes and closes == self.frames[-1].closer:
            self._end_command("")
            self.frames.pop()
            self.ticks -= kind == "tick"
        elif kind == "close":
            self._end_command(")")
        else:
            self._open(kind)

    def _open(self, kind: str) -> None:
        if kind == "group":
            self._end_command("(")
        else:
            word = self._word()
            word.known = False
            word.text.append("$()")
        self.whole &= len(self.frames) <= DEPTH_MAX
        self.opened += 1
        self.ticks += kind == "tick"
        self.frames.append(_Frame(closer="`" if kind == "tick" else ")", number=self.opened))

    def _redirect(self, operator: str) -> None:
        frame = self.frames[-1]
        if frame.word is not None and "".join(frame.word.text).isdigit():
            frame.word = None  # a file descriptor
        self._end_word()
        frame.target = _Target(operator)

    def _end_word(self) -> None:
        frame = self.frames[-1]
        if frame.word is None:
            return
        word, target = frame.word.word(), frame.target
        if target is None:
            frame.words.append(word)
        else:
            target.word, target.quoted = word, frame.word.quoted
            frame.targets.append(target)
            if target.operator in {"<<", "<<-"}:
                self.awaited.append(target)
        frame.word, frame.target = None, None

    def _end_command(self, operator: str) -> None:
        self._end_word()
        frame = self.frames[-1]
        self.whole &= frame.target is None
        if len(self.frames) > 1 and any(word.text == "case" for word in frame.words[:3]):
            self.whole = False  # its patterns end as a substitution does
        if frame.words or frame.targets:
            scope = tuple(frame.number for frame in self.frames[1 : DEPTH_MAX + 1])
            self.ended.append(_Ended(frame.words, frame.targets, operator, scope))
        frame.words, frame.targets, frame.target = [], [], None

    def _read_bodies(self, text: str, at: int) -> int:
        for target in self.awaited:
            target.body, at, found = _body(text, at, target)
            self.whole &= found
            if not target.quoted and ("$(" in target.body or "`" in target.body):
                self._look_into(target.body)
        self.awaited = []
        return at

    def _look_into(self, body: str) -> None:
        if self.bodies >= _BODIES_MAX:
            self.whole = False
        else:
            self.more += _Splitter(self.bodies + 1).run(body, quoted=True)

    def _finish(self, *, quoted: bool) -> list[Simple]:
        self.whole &= len(self.frames) == 1 and not self.awaited
        self.whole &= quoted or not self.frames[0].quoted
        while self.frames:
            if quoted and len(self.frames) == 1:
                break  # the text around substitutions is no command
            self._end_command("")
            self.frames.pop()
        found = [self._simple(ended) for ended in self.ended] + self.more
        return found if self.whole else [*found, Simple(whole=False)]

    def _simple(self, ended: _Ended) -> Simple:
        redirects = tuple(Redirect(t.operator, t.word, t.body) for t in ended.targets)
        return Simple(tuple(ended.words), redirects, self.whole, ended.ends, ended.scope)


def _body(text: str, at: int, target: _Target) -> tuple[str, int, bool]:
    """Return a here-document's body, where it ends, and whether its delimiter was found."""
    begin = at
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        line = text[at:end]
        if (line.lstrip("\t") if target.operator == "<<-" else line) == target.word.text:
            return text[begin:at], min(end + 1, len(text)), True
        at = end + 1
    return text[begin:], len(text), False
