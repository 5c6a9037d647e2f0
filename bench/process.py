"""What processes use, as Linux tells it."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

from msgspec import Struct

_TICK_SEC = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")
SERVERS = frozenset({"postgres", "nats-server"})


class Usage(Struct, frozen=True):
    """Memory in bytes; processor time in seconds, its own and that of children it outlived."""

    rss: int
    cpu_sec: float
    ended_sec: float


NOTHING = Usage(0, 0.0, 0.0)


class _Stat(Struct, frozen=True):
    pid: int
    name: str
    parent: int
    usage: Usage


class Household(Struct, frozen=True):
    """A process by itself, the servers it started, and all else it started, at any depth.

    Memory that several of them share counts once for each.
    """

    own: Usage
    servers: Usage
    others: Usage


def usage(pid: int) -> Household:
    """Return what a process and all below it use; raises ``OSError`` where there is no ``/proc``.

    A child that ended counts, once it was waited for, as a part of the one who waited.
    """
    children: dict[int, list[_Stat]] = defaultdict(list)
    for stat in _all():
        children[stat.parent].append(stat)
    own = _stat(pid).usage
    servers: list[_Stat] = []
    others: list[_Stat] = []
    for child in children[pid]:
        kind = servers if child.name in SERVERS else others
        kind += [child, *_below(child.pid, children)]
    ended = Usage(0, own.ended_sec, 0.0)
    return Household(own, _sum(servers), _sum(others, ended))


def _sum(stats: list[_Stat], ended: Usage = NOTHING) -> Usage:
    return Usage(
        ended.rss + sum(stat.usage.rss for stat in stats),
        ended.cpu_sec + sum(stat.usage.cpu_sec + stat.usage.ended_sec for stat in stats),
        0.0,
    )


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
    head, _, rest = text.rpartition(")")
    name, fields = head.partition("(")[2], rest.split()
    cpu = (int(fields[11]) + int(fields[12])) * _TICK_SEC
    ended = (int(fields[13]) + int(fields[14])) * _TICK_SEC
    return _Stat(pid, name, int(fields[1]), Usage(int(fields[21]) * _PAGE, cpu, ended))
