"""The nursery's program: it forks a guardian for whoever hands it a link and a terminal.

To start Python afresh for every execution costs 20 ms of processor time, to fork it costs one. The
runner does not fork itself, so that nothing it holds can leak into a guardian: this program is
started clean, has one thread, and knows nothing but the socket it was given.

====================  =========================================================================
what happens          what the nursery does
====================  =========================================================================
two descriptors come  forks; the child is the guardian of that link and that terminal. Says
                      ``born PID`` on the link, with a descriptor of that process
fork is refused       says ``failed ERRNO`` on the link
a guardian ends       reaps it; what it leaves because it was killed gets SIGKILL
socket closed         ends
the runner dies       ends, by the kernel, even if it is stopped
====================  =========================================================================

A guardian does not need the nursery once it was told what to run: its own link tells it whether
the runner lives. Before that it dies with the nursery, so that whoever asked hears it at once. What
is to run does not pass through here, so starts cannot be mixed up.

Runs on the standard library alone (``python -I -S``).
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import select
import signal
import socket
import sys

from pandar_daemon.adapters.process import kernel
from pandar_daemon.adapters.process.guardian import FAILED, guard, wake_on_signals
from pandar_daemon.adapters.process.tree import Newcomers, children_of, send

BORN = "born"
_A_BIRTH = 2  # descriptors
_CAUGHT = {
    signal.SIGCHLD,  # wakes nursery and guardian up
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP),  # the socket and the link alone decide
    *(signal.SIGPIPE, signal.SIGXFSZ),  # a failed write is an error like others
}
"""What is caught, and then ignored: for whom a guardian executes they have their default effect."""


def main() -> None:
    """Run as ``forkserver.py SOCKET PARENT DESCRIPTOR_LIMIT`` until the socket is closed."""
    number, parent, limit = (int(text) for text in sys.argv[1:])
    kernel.die_with(parent)
    kernel.be_called(b"pandar-nursery")
    kernel.adopt_orphans()
    requests = socket.socket(fileno=number)
    requests.set_inheritable(False)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    _take_signals()
    gc.freeze()  # what is collected later leaves these pages shared
    _serve(requests, *wake_on_signals())


def _take_signals() -> None:
    """Forget what was inherited."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, _ignore if number in _CAUGHT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _ignore(*_: object) -> None:
    pass


def _serve(requests: socket.socket, wake: int, ring: int) -> None:
    number = requests.fileno()
    guardians = set[int]()
    while True:
        ready, _, _ = select.select([number, wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
        _reap(guardians)
        if number in ready:
            data, descriptors, *_ = socket.recv_fds(requests, 1, _A_BIRTH)
            if not data:
                return
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)  # noqa: FBT003 - the library's own signature
            if len(descriptors) == _A_BIRTH:
                guardians.add(_bear(descriptors[0], descriptors[1], (number, wake, ring)))
            for descriptor in descriptors:
                os.close(descriptor)


def _reap(guardians: set[int]) -> None:
    """Bury who ended. A child that is no guardian lost its own: it may run no further."""
    with contextlib.suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            guardians.discard(pid)
        for orphan in set(children_of(os.getpid())) - guardians:
            send(orphan, signal.SIGKILL)


def _bear(link: int, terminal: int, own: tuple[int, ...]) -> int:
    """Fork a guardian that has none of our own descriptors, and introduce it; 0 if that fails."""
    newcomers, nursery = Newcomers(), os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        _introduce(link, f"{FAILED} {error.errno}")
        return 0
    if pid:
        _introduce(link, f"{BORN} {pid}", pid)
        return pid
    try:  # in the child this never returns
        for descriptor in own:
            os.close(descriptor)
        guard(link, terminal, nursery, newcomers)
    except BaseException as error:  # noqa: BLE001 - whatever it is, there is but one nursery
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(0)


def _introduce(link: int, line: str, *pids: int) -> None:
    """Say who was born, with what signals it and never another; in vain if nobody listens."""
    handles: list[int] = []
    with contextlib.suppress(AttributeError, OSError):  # a kernel without such handles
        handles += map(os.pidfd_open, pids)
    with socket.socket(fileno=os.dup(link)) as asker, contextlib.suppress(OSError):
        socket.send_fds(asker, [f"{line}\n".encode()], handles)
    for handle in handles:
        os.close(handle)


if __name__ == "__main__":
    main()
