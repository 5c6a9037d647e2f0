"""What a process asks of Linux for itself, where Python's library has no word for it.

Standard library only. Elsewhere than on Linux these do nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
import time

LINUX = sys.platform == "linux"
BOOTTIME = 7 if LINUX else time.CLOCK_MONOTONIC  # CLOCK_BOOTTIME counts suspended time too

_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 1, 15, 36
_TFD_TIMER_ABSTIME = 1
_LATEST_SEC = 2.0**31  # of what a timer is set to
_LIBC = ctypes.CDLL(None)
_LIMITS = [number for name, number in vars(resource).items() if name.startswith("RLIMIT_")]


def die_with(parent: int) -> None:
    """Get SIGKILL, even while stopped, when this parent ends; exit if it has ended already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(127)  # it died before the kernel was told


def outlive_parent() -> None:
    """Take `die_with` back."""
    _prctl(_PR_SET_PDEATHSIG, 0)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def be_called(name: bytes) -> None:
    """Show this name in the process table; at most 15 bytes of it."""
    _prctl(_PR_SET_NAME, ctypes.c_char_p(name))


def standing() -> tuple[object, ...] | None:
    """Return what children get from us and others may change; ``None`` where nobody knows."""
    if not LINUX:
        return None
    limits = [resource.getrlimit(number) for number in _LIMITS]
    share = (os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0), os.sched_getaffinity(0))
    return (limits, share, read("/proc/self/cgroup"), read("/proc/self/oom_score_adj"))


def read(path: str) -> bytes:
    """Return a file of ``/proc``; empty when it is not there, or not for us."""
    data = b""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return data
    with contextlib.suppress(OSError):  # gone meanwhile
        while more := os.read(file, 131_072):
            data += more
    os.close(file)
    return data


def _prctl(option: int, argument: object) -> None:
    if LINUX and _LIBC.prctl(option, argument, 0, 0, 0) != 0:
        sys.exit(f"prctl({option}) was refused")


class Alarm:
    """Wakes us at a time of the boot-time clock, which a machine that was suspended has passed."""

    def __init__(self) -> None:
        create = getattr(_LIBC, "timerfd_create", None) if LINUX else None
        number = create(BOOTTIME, os.O_NONBLOCK | os.O_CLOEXEC) if create else -1
        self.sources = [number] if number >= 0 else []
        """What becomes readable then; nothing where there are no alarms."""

    def set(self, at: float) -> None:
        """Ring at that time, and not at the one set before."""
        sec, nanosec = divmod(round(min(max(at, 0.0), _LATEST_SEC) * 1e9), 10**9)
        times = (ctypes.c_long * 4)(0, 0, sec, nanosec or 1)  # all zero would mean: never
        for source in self.sources:
            _LIBC.timerfd_settime(source, _TFD_TIMER_ABSTIME, times, None)
