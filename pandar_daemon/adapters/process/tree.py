"""Who belongs to a process tree: descendants, and whoever carries its tag in the environment.

Standard library only, for the guardian's sake. On macOS, which has no ``/proc``, ``ps`` is asked;
that path is untested.
"""

# ruff: noqa: PTH110, PTH115, PTH208 - importing pathlib would double the time a guardian takes to start

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

from pandar_daemon.adapters.process.kernel import LINUX, read

STOPPED = "Tt"
_GONE = "ZX"
_THREADS = 17  # in the fields of a stat, counted from the state: how many threads there are
_KNOWS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
_FEW = 250  # fewer than the 300 numbers Linux keeps free at each round, so none is passed twice


class Entry:
    """One live process, as the process table shows it."""

    __slots__ = ("parent", "pid", "state")

    def __init__(self, pid: int, parent: int, state: str) -> None:
        self.pid, self.parent, self.state = pid, parent, state


def tree(tag: str, *roots: int) -> list[Entry]:
    """Return the living processes with a tag, ``roots`` and all their descendants, parents first.

    ``tag`` is ``NAME=value`` as in an environment. The caller is left out.
    """
    return _below([*roots, *tagged(tag)])


def descendants(root: int) -> list[Entry]:
    """Return the living descendants of a process, parents first, at the cost of their number.

    While any of them ends, the kernel may leave out others: then look again.
    """
    if not _KNOWS_CHILDREN:
        return [each for each in _below([root]) if each.pid != root]
    pids = [root]
    for pid in pids:  # it grows meanwhile
        pids += children_of(pid)
    found = [_entry(pid) for pid in dict.fromkeys(pids[1:])]
    return [each for each in found if each is not None and each.state not in _GONE]


def tagged(tag: str) -> list[int]:
    """Return the processes, without the caller, whose initial environment has ``tag``."""
    if not LINUX:
        listed = [line.split(None, 1) for line in _ps("pid=,command=") if f" {tag}" in line]
        return [int(pid) for pid, _ in listed if int(pid) != os.getpid()]
    return carriers(tag, pids())


def carriers(tag: str, among: Iterable[int]) -> list[int]:
    """Return those of some processes, without the caller, whose initial environment has ``tag``."""
    if not LINUX:
        return [pid for pid in tagged(tag) if pid in set(among)]
    wanted, myself = tag.encode(), os.getpid()
    return [pid for pid in among if pid != myself and wanted in environment_of(pid)]


def environment_of(pid: int) -> list[bytes]:
    """Return what a process was begun with; nothing when it is gone, or of another user."""
    return read(f"/proc/{pid}/environ").split(b"\0")


class Newcomers:
    """The processes that began after this was made."""

    def __init__(self) -> None:
        self._forks, self._last = _forks_and_last_pid()

    def tagged(self, tag: str) -> list[int] | None:
        """Return those whose initial environment has ``tag``; ``None`` when they are too many.

        Linux numbers processes upwards. As long as the numbers since then are few, and have not
        come round, they can be looked at one by one.
        """
        forks, last = _forks_and_last_pid()
        if 0 <= forks - self._forks <= _FEW and 0 < self._last <= last <= self._last + _FEW:
            return carriers(tag, (n for n in range(self._last + 1, last + 1) if send(n, 0)))
        return None


def _forks_and_last_pid() -> tuple[int, int]:
    """Return how many forks there have been, and the newest number; ``0, 0`` if nobody knows."""
    try:
        forks = read("/proc/stat").partition(b"\nprocesses ")[2].split(None, 1)[0]
        return int(forks), int(read("/proc/loadavg").split()[-1])
    except (IndexError, ValueError):
        return 0, 0


def holders(terminal: str) -> set[int]:
    """Return the processes, without the caller, that have a terminal open; on Linux only."""
    found = set[int]()
    for pid in pids() if LINUX else ():
        with contextlib.suppress(OSError):  # gone meanwhile, or of another user
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{descriptor}") == terminal:
                    found.add(pid)
    return found - {os.getpid()}


def pids() -> list[int]:
    """Return all processes."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _below(wanted: list[int]) -> list[Entry]:
    """Return the living processes of a list and all their descendants, parents first."""
    table = _table_of_proc() if LINUX else _table_of_ps()
    children: dict[int, list[int]] = {}
    for entry in table.values():
        children.setdefault(entry.parent, []).append(entry.pid)
    found: dict[int, Entry] = {}
    while wanted:
        pid = wanted.pop(0)
        if pid in table and pid not in found:
            found[pid] = table[pid]
            wanted += children.get(pid, ())
    return [each for each in found.values() if each.pid != os.getpid() and each.state not in _GONE]


def children_of(pid: int) -> list[int]:
    """Return whom a process has started or adopted; nobody where the kernel does not tell."""
    threads = [str(pid)]
    with contextlib.suppress(OSError):  # gone meanwhile
        threads = os.listdir(f"/proc/{pid}/task")
    named = b" ".join(read(f"/proc/{pid}/task/{thread}/children") for thread in threads)
    return [int(child) for child in named.split()]


def _table_of_proc() -> dict[int, Entry]:
    found = map(_entry, pids())
    return {entry.pid: entry for entry in found if entry is not None}


def _entry(pid: int) -> Entry | None:
    fields = _stat(f"/proc/{pid}/stat")
    if len(fields) < _THREADS + 1:
        return None
    state = fields[0]
    if state in _GONE and int(fields[_THREADS]) > 1:
        state = _state_of_threads(pid)
    return Entry(pid, int(fields[1]), state)


def _state_of_threads(pid: int) -> str:
    """Return how a process fares whose first thread has ended before the others."""
    states = set[str]()
    with contextlib.suppress(OSError):  # gone meanwhile
        for thread in os.listdir(f"/proc/{pid}/task"):
            states |= {*_stat(f"/proc/{pid}/task/{thread}/stat")[:1]} - {*_GONE}
    running = sorted(states - {*STOPPED}) or sorted(states)
    return running[0] if running else "Z"


def _stat(path: str) -> list[str]:
    # The name stands in parentheses and may hold any character, parentheses too.
    return read(path).decode(errors="replace").rpartition(")")[2].split()


def _table_of_ps() -> dict[int, Entry]:
    rows = [line.split() for line in _ps("pid=,ppid=,state=")]
    return {int(pid): Entry(int(pid), int(parent), state[0]) for pid, parent, state in rows}


def _ps(columns: str) -> list[str]:
    import subprocess  # noqa: PLC0415 - costs 10 ms that Linux need not pay

    argv = ["/bin/ps", "-axwwE", "-o", columns]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as ps:  # noqa: S603 - fixed words
        lines = ps.communicate()[0].decode(errors="replace").splitlines()
    return [line for line in lines if int(line.split()[0]) != ps.pid]


def send(pid: int, number: int) -> bool:
    """Signal a process; return false when it is gone or out of our reach."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
