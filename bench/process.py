"""What processes use, as Linux tells it."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

from msgspec import Struct

_TICK_SEC = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")


class Usage(Struct, frozen=True):
    """Memory in bytes; processor time in seconds, its own and that of children it outlived."""

    rss: int
    cpu_sec: float
    ended_sec: float


class _Stat(Struct, frozen=True):
    pid: int
    parent: int
    usage: Usage


def usage(pid: int) -> tuple[Usage, Usage]:
    """Return what a process uses by itself, and what its servers use together.

    Its servers are all it started, at any depth; memory they share counts once for each. Raises
    ``OSError`` where there is no ``/proc``.
    """
    children: dict[int, list[_Stat]] = defaultdict(list)
    for stat in _all():
        children[stat.parent].append(stat)
    below = _below(pid, children)
    theirs = Usage(
        sum(stat.usage.rss for stat in below),
        sum(stat.usage.cpu_sec + stat.usage.ended_sec for stat in below),
        0.0,
    )
    return _stat(pid).usage, theirs


def _below(pid: int, children: dict[int, list[_Stat]]) -> list[_Stat]:
    return [one for child in children[pid] for one in (child, *_below(child.pid, children))]


def _all() -> list[_Stat]:
    found = []
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                found.append(_stat(int(entry.name)))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def _stat(pid: int) -> _Stat:
    text = (_PROC / str(pid) / "stat").read_text()
    fields = text.rpartition(")")[2].split()
    cpu = (int(fields[11]) + int(fields[12])) * _TICK_SEC
    ended = (int(fields[13]) + int(fields[14])) * _TICK_SEC
    return _Stat(pid, int(fields[1]), Usage(int(fields[21]) * _PAGE, cpu, ended))
