"""The nursery's program: it forks a guardian for whoever hands it a link and a terminal.

To start Python afresh for every execution costs 20 ms of processor time, to fork it two, and to let
a guardian whose execution is over take the next one nothing. The
runner does not fork itself, so that nothing it holds can leak into a guardian: this program is
started clean, has one thread, and knows nothing but the socket it was given.

====================  =========================================================================
what happens          what the nursery does
====================  =========================================================================
two descriptors come  hands them to a guardian that waits (see `cradle`), or forks one. That says
                      ``born PID`` on the link, with a descriptor of its process
fork is refused       says ``failed ERRNO`` on the link
a rest without work   lets the guardians that wait end
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
from pandar_daemon.adapters.process.cradle import Cradles, receive_birth
from pandar_daemon.adapters.process.guardian import FAILED, guard, report, wake_on_signals
from pandar_daemon.adapters.process.tree import children_of, send

_CAUGHT = {
    signal.SIGCHLD,  # wakes nursery and guardian up
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP),  # the socket and the link alone decide
    *(signal.SIGPIPE, signal.SIGXFSZ),  # a failed write is an error like others
}
"""What is caught, and then ignored: for whom a guardian executes they have their default effect."""


def main() -> None:
    """Run as ``forkserver.py SOCKET PARENT DESCRIPTOR_LIMIT REST_SEC`` until the socket closes."""
    number, parent, limit = (int(text) for text in sys.argv[1:4])
    kernel.die_with(parent)
    kernel.be_called(b"pandar-nursery")
    kernel.adopt_orphans()
    requests = socket.socket(fileno=number)
    requests.set_inheritable(False)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    _take_signals()
    gc.freeze()  # what is collected later leaves these pages shared
    _serve(requests, float(sys.argv[4]), *wake_on_signals())


def _take_signals() -> None:
    """Forget what was inherited."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, _ignore if number in _CAUGHT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _ignore(*_: object) -> None:
    pass


def _serve(requests: socket.socket, rest_sec: float, wake: int, ring: int) -> None:
    number, cradles = requests.fileno(), Cradles()
    guardians = set[int]()
    while True:
        patience = None if cradles.are_empty else rest_sec
        ready, _, _ = select.select([number, wake, cradles.heard], [], [], patience)
        if wake in ready:  # who ended signalled, and only then is there an orphan
            os.read(wake, 4096)
            _reap(guardians, cradles)
        if cradles.heard in ready:
            cradles.listen()
        if number in ready:
            birth = receive_birth(requests)
            if birth is None:
                return
            guardians.add(_bear(birth, cradles, (number, wake, ring)))
            for descriptor in birth:
                os.close(descriptor)
        elif not ready:
            cradles.dismiss()


def _reap(guardians: set[int], cradles: Cradles) -> None:
    """Bury who ended. A child that is no guardian lost its own: it may run no further."""
    with contextlib.suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            guardians.discard(pid)
            cradles.discard(pid)
        for orphan in set(children_of(os.getpid())) - guardians:
            send(orphan, signal.SIGKILL)


def _bear(birth: tuple[int, int], cradles: Cradles, own: tuple[int, ...]) -> int:
    """Find or fork a guardian, which introduces itself; return who it is, 0 if there is none."""
    try:
        return cradles.hand([*birth]) or _fork(birth, cradles, own)
    except OSError as error:
        report(birth[0], f"{FAILED} {error.errno}")
        return 0


def _fork(birth: tuple[int, int], cradles: Cradles, own: tuple[int, ...]) -> int:
    """Return a new guardian, that has none of our own descriptors; raises ``OSError``."""
    nursery = os.getpid()
    placed = cradles.place()
    pid = os.fork()
    if pid:
        if placed:
            cradles.keep(pid, *placed)
        return pid
    try:  # in the child this never returns
        cradle = cradles.leave(placed)
        for descriptor in own:
            os.close(descriptor)
        guard(*birth, nursery, cradle)
    except BaseException as error:  # noqa: BLE001 - whatever it is, there is but one nursery
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
