"""Whether a process waits for somebody to type: asked of the kernel, which knows."""

from __future__ import annotations

import os
from typing import Final

from pandar_daemon.adapters.process.kernel import LINUX, read
from pandar_daemon.adapters.process.tree import descendants

_READ: Final = {"x86_64": b"0", "aarch64": b"63"}
"""The number of the system call ``read``, by machine."""
_ASLEEP_IN_READ: Final = frozenset({b"n_tty_read", b"wait_woken"})
"""Where in the kernel a process sleeps that reads a terminal; others may sleep there too."""


def reads(root: int, terminal: str) -> bool:
    """Return whether a descendant of a process is asleep in a ``read`` of a terminal.

    False also where the kernel does not tell us: on macOS, or of processes that are not ours.
    """
    return LINUX and any(_reads(each.pid, terminal) for each in descendants(root))


def _reads(pid: int, terminal: str) -> bool:
    if read(f"/proc/{pid}/wchan") not in _ASLEEP_IN_READ:
        return False
    call, _, rest = read(f"/proc/{pid}/syscall").partition(b" ")
    if not call:  # it may not be looked at that closely: believe its standard input
        return _link(pid, 0) == terminal
    if call != _READ.get(os.uname().machine):
        return False
    return _link(pid, int(rest.split()[0], 16)) == terminal


def _link(pid: int, descriptor: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/fd/{descriptor}")  # noqa: PTH115 - no Path is needed
    except OSError:
        return ""
