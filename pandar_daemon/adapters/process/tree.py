"""Who belongs to a process tree: descendants, and whoever carries its tag in the environment.

Standard library only, for the guardian's sake. On macOS, which has no ``/proc``, ``ps`` is asked;
that path is untested.
"""

# ruff: noqa: PTH115, PTH123, PTH208 - importing pathlib would double the time a guardian takes to start

from __future__ import annotations

import contextlib
import os
import sys

LINUX = sys.platform == "linux"
STOPPED = "Tt"
_GONE = "ZX"


class Entry:
    """One live process, as the process table shows it."""

    __slots__ = ("parent", "pid", "state")

    def __init__(self, pid: int, parent: int, state: str) -> None:
        self.pid, self.parent, self.state = pid, parent, state


def tree(tag: str, *roots: int) -> list[Entry]:
    """Return the living processes with a tag, ``roots`` and all their descendants, parents first.

    ``tag`` is ``NAME=value`` as in an environment. The caller is left out.
    """
    table = _table_of_proc() if LINUX else _table_of_ps()
    children: dict[int, list[int]] = {}
    for entry in table.values():
        children.setdefault(entry.parent, []).append(entry.pid)
    found: dict[int, Entry] = {}
    wanted = [*roots, *tagged(tag)]
    while wanted:
        pid = wanted.pop(0)
        if pid in table and pid not in found:
            found[pid] = table[pid]
            wanted += children.get(pid, ())
    return [each for each in found.values() if each.pid != os.getpid() and each.state not in _GONE]


def tagged(tag: str) -> list[int]:
    """Return the processes, without the caller, whose initial environment has ``tag``."""
    if not LINUX:
        listed = [line.split(None, 1) for line in _ps("pid=,command=") if f" {tag}" in line]
        return [int(pid) for pid, _ in listed if int(pid) != os.getpid()]
    needle = f"\0{tag}\0".encode()
    found = []
    for pid in _pids():
        # Gone meanwhile, or of another user: not ours.
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            if pid != os.getpid() and needle in b"\0" + file.read() + b"\0":
                found.append(pid)
    return found


def holders(terminal: str) -> set[int]:
    """Return the processes, without the caller, that have a terminal open; on Linux only."""
    found = set[int]()
    for pid in _pids() if LINUX else ():
        with contextlib.suppress(OSError):  # gone meanwhile, or of another user
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{descriptor}") == terminal:
                    found.add(pid)
    return found - {os.getpid()}


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _table_of_proc() -> dict[int, Entry]:
    table = {}
    for pid in _pids():
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as file:
            # The name stands in parentheses and may hold any character, parentheses too.
            state, parent = file.read().rpartition(")")[2].split()[:2]
            table[pid] = Entry(pid, int(parent), state)
    return table


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
