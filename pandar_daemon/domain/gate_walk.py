"""Where each run of a text is when it runs, and what its variables may be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from pandar_daemon.domain.gate_paths import Place, resolved
from pandar_daemon.domain.shell_run import Run
from pandar_daemon.domain.shell_words import Word

Known = dict[str, tuple[str, ...] | None]
"""What the variables a text sets may be, ``None`` where only the shell will know."""


class _Trail(Struct):
    """Goes from run to run: where it is, and what variables are."""

    place: Place
    here: dict[tuple[int, ...], tuple[str, ...]]
    known: Known


def walked(command: Sequence[Run], place: Place) -> Iterator[tuple[Run, Place, Known]]:
    """Yield each run with the place it is at, beginning at ``place``, and what is known there."""
    walk = _Trail(place, {(): place.here}, _assigned(command))
    for run in command:
        now = msgspec.structs.replace(place, here=_here(walk, run.scope))
        yield run, now, walk.known
        if run.name in {"cd", "pushd", "popd"}:
            _go(walk, run, now)


def _here(walk: _Trail, scope: tuple[int, ...]) -> tuple[str, ...]:
    """Return the folders a scope may be in: its own, or those of what it is in."""
    for length in range(len(scope), -1, -1):
        if scope[:length] in walk.here:
            return walk.here[scope[:length]]
    return walk.place.here  # pragma: no cover - the outermost is always there


def _go(walk: _Trail, run: Run, now: Place) -> None:
    target = next((w for w in run.arguments if not w.text.startswith("-")), None)
    dashed = any(word.text == "-" for word in run.arguments) or run.name == "popd"
    paths = ["~"] if target is None else resolved(target, walk.known)
    if dashed or paths is None or not now.here:
        walk.here[run.scope] = ()
        return
    there = tuple(absolute for path in paths for absolute in now.absolute(path))
    stays = () if run.ends == "&&" else now.here
    walk.here[run.scope] = tuple(dict.fromkeys((*there, *stays)))[:_PLACES_MAX]


_PLACES_MAX: Final = 4
"""Folders a command may be in that are followed."""
_VALUES_MAX: Final = 8
_SETS: Final = frozenset({"read", "mapfile", "readarray", "getopts", "printf", "unset", "select"})


def _assigned(command: Sequence[Run]) -> Known:
    """Return the values of variables that a text gives itself, ``None`` where nobody knows."""
    known: Known = {}
    for run in command:
        for word in (*run.settings, *(run.arguments if run.name in {"export", "local"} else ())):
            name, equals, value = word.text.partition("=")
            if equals:
                _learn(known, name, value if word.fixed else None)
        if run.name == "for" and len(run.words) > 1:
            for word in run.words[3:] or (Word("", known=False),):
                _learn(known, run.words[1].text, word.text if word.known else None)
        elif run.name in _SETS:
            for word in run.arguments:
                known[word.text] = None
    return known


def _learn(known: Known, name: str, value: str | None) -> None:
    earlier = known.get(name, ())
    full = earlier is None or len(earlier) >= _VALUES_MAX
    known[name] = None if value is None or full else (*(earlier or ()), value)
