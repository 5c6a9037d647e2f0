"""One program a shell text runs, and what could not be seen of it."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from pandar_daemon.domain.shell_words import Redirect, Word


class Run(Struct, frozen=True, kw_only=True):
    """One program with its arguments.

    ``words`` begin with the program; ``written`` are all words as they stand in the text.
    ``settings`` are the assignments before it, ``rules`` what is touched by how it is run.
    ``followed``: its program needs no look; what it runs comes next, or is a doubt.
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


def doubt(run: Run, rule: str) -> Run:
    """Return a run of which nothing more can be said than this rule."""
    return msgspec.structs.replace(run, followed=True, rules=(*run.rules, rule))
