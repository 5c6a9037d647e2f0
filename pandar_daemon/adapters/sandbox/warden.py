"""The first process of a fence (`fencing`): the command gives up all but its own, under its eyes.

It stands between guardian and command as `init` does, and talks as that does, but in no namespace::

    guardian ──lifeline──▶ warden ─fork──▶ command: limits, capabilities, Landlock, system calls

The command can signal nobody but what it starts itself, so it cannot end the warden. That adopts
whoever daemonises; when the command ends, or nobody guards any more, it kills all of them.
Standard library only. It has all rights of the runner, and reads nothing the command can write.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import sys

from pandar_daemon.adapters.process.kernel import adopt_orphans
from pandar_daemon.adapters.process.tree import descendants, send
from pandar_daemon.adapters.sandbox import init, landlock

_PR_SET_SECCOMP, _PR_CAPBSET_READ, _PR_CAPBSET_DROP = 22, 23, 24
_PR_SET_SECUREBITS, _PR_CAP_AMBIENT = 28, 47
_SECCOMP_MODE_FILTER, _CLEAR_ALL = 2, 4
_SECUREBITS = 0x2F  # to be root gives no capabilities, now and for ever; none are kept
_CAPABILITY_VERSION = 0x20080522
_LAST_CAPABILITY = 63
_STEP_BYTES = 8
_PAUSE_SEC = 0.002
_FILES_MAX = 1 << 20


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_void_p))


def main() -> None:
    """Run as ``warden SETUP RULES FILTER LIFELINE``, numbers of descriptors.

    A rule is ``RIGHTS PATH``, followed by a NUL byte; see `landlock.restrict`.
    """
    numbers = [int(number) for number in sys.argv[1:5]]
    for number in numbers:
        os.set_inheritable(number, False)  # noqa: FBT003 - the library's own signature
    rules = _rules(_contents(numbers[1]))
    program = _contents(numbers[2])
    init.hide()
    adopt_orphans()
    wake = init.wake_on_signals()
    setup, lifeline = socket.socket(fileno=numbers[0]), socket.socket(fileno=numbers[3])
    init.hand_out(setup, [])
    texts = init.receive(setup, lifeline)
    child = init.start(texts, setup, lambda: _confine(rules, program))
    setup.close()
    _attend(child, lifeline, wake)


def _contents(descriptor: int) -> bytes:
    data = os.pread(descriptor, _FILES_MAX, 0)
    os.close(descriptor)
    return data


def _rules(data: bytes) -> list[tuple[int, bytes]]:
    pairs = (rule.partition(b" ") for rule in data.split(b"\0") if rule)
    return [(int(rights), path) for rights, _, path in pairs]


def _confine(rules: list[tuple[int, bytes]], program: bytes) -> None:
    """In the child, last of all: give up capabilities, files, sockets and system calls."""
    terminals = [b"/proc/self/fd/%d" % number for number in range(3) if os.isatty(number)]
    _drop_capabilities()
    landlock.restrict([*rules, *((landlock.DEVICE, path) for path in terminals)])
    steps = ctypes.create_string_buffer(program, len(program))
    filter_ = _Program(len(program) // _STEP_BYTES, ctypes.addressof(steps))
    landlock.control(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(filter_))


def _drop_capabilities() -> None:
    """Have none, nor get any by being root; who is not root gets none without `no_new_privs`."""
    if os.geteuid() == 0:
        landlock.control(_PR_CAP_AMBIENT, _CLEAR_ALL)
        for number in range(_LAST_CAPABILITY + 1):
            if not _drop_from_bounds(number):
                break
        landlock.control(_PR_SET_SECUREBITS, _SECUREBITS)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    if ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()):
        raise OSError(1, "capabilities cannot be given up")


def _drop_from_bounds(number: int) -> bool:
    """Return whether the kernel knows this one."""
    try:
        landlock.control(_PR_CAPBSET_READ, number)
    except OSError:
        return False
    landlock.control(_PR_CAPBSET_DROP, number)
    return True


def _attend(child: int, lifeline: socket.socket, wake: int) -> None:
    """Reap until the command ends, or nobody guards us any more; then leave nobody."""
    while True:
        ready, _, _ = select.select([lifeline.fileno(), wake], [], [])
        if wake not in ready:
            _leave_nobody()
            os._exit(0)
        os.read(wake, 512)
        status = _reaped(child)
        if status is not None:
            _leave_nobody()
            init.end(lifeline, status)


def _reaped(child: int) -> int | None:
    """Reap all that ended; return the command's wait status, if it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if not pid:
            return found
        if pid == child:
            found = status


def _leave_nobody() -> None:
    """Kill all descendants, again and again, until there are none."""
    myself = os.getpid()
    while living := descendants(myself):
        for each in living:
            send(each.pid, signal.SIGKILL)
        _reaped(0)
        select.select([], [], [], _PAUSE_SEC)
