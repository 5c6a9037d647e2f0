"""One program a shell text runs, and what could not be seen of it."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from pandar_daemon.domain.shell_words import Redirect, Word


class Run(Struct, frozen=True, kw_only=True):
    """One program with its arguments.

    ``words`` begin with the program; ``written`` are all words as they stand in the text.
    ``settings`` are the assignments before it, ``rules`` what is touched by how it is run.
    ``followed``: all it does is run texts whose own runs come next.
    """

    words: tuple[Word, ...] = ()
    written: tuple[Word, ...] = ()
    redirects: tuple[Redirect, ...] = ()
    settings: tuple[Word, ...] = ()
    rules: tuple[str, ...] = ()
    ends: str = ""
    scope: tuple[int, ...] = ()
    followed: bool = False

    @property
    def name(self) -> str:
        """The last part of the program's name; empty where nothing is run."""
        return self.words[0].text.rpartition("/")[2] if self.words else ""

    @property
    def arguments(self) -> tuple[Word, ...]:
        """The words after the program."""
        return self.words[1:]


def doubt(run: Run, rule: str, *, drop: int = 0) -> Run:
    """Return a run with one more rule, its first words dropped."""
    return msgspec.structs.replace(run, words=run.words[drop:], rules=(*run.rules, rule))
