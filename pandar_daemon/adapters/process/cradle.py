"""Where guardians wait for the next execution, and how the nursery hands them one.

Each guardian has a cradle of its own, a socket to the nursery; that it waits there it says on a
pipe all share, so that the nursery need not listen to hundreds.

Standard library only, for the nursery's sake.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket

from pandar_daemon.adapters.process.tree import send

BIRTH = 2
"""Descriptors of a birth: link and terminal."""
CRADLES_MAX = 500
"""Of more guardians the others end after one execution, so that no limit of open files is met."""
_PID_BYTES = 4
_TOGETHER = 4096


class Cradle:
    """A guardian's end: it waits here."""

    def __init__(self, own: socket.socket, waiting: int) -> None:
        self._own, self._waiting = own, waiting

    def wait(self) -> tuple[int, int] | None:
        """Return link and terminal of the next execution; ``None`` when there will be none."""
        os.write(self._waiting, os.getpid().to_bytes(_PID_BYTES, "big"))
        return receive_birth(self._own)

    def close(self) -> None:
        """In the nursery: leave it to the guardian."""
        self._own.close()


class Cradles:
    """The nursery's ends."""

    def __init__(self) -> None:
        self.heard, self._waiting = os.pipe()
        """Readable when a guardian has begun to wait."""
        self._of: dict[int, socket.socket] = {}
        self._idle: list[int] = []

    @property
    def are_empty(self) -> bool:
        """Whether no guardian is known to wait."""
        return not self._idle

    def listen(self) -> None:
        """Note who waits; call it when `heard` is readable."""
        said = os.read(self.heard, _PID_BYTES * _TOGETHER)
        pids = [said[at : at + _PID_BYTES] for at in range(0, len(said), _PID_BYTES)]
        self._idle += [pid for pid in map(_number, pids) if pid in self._of]

    def place(self) -> tuple[socket.socket, Cradle] | None:
        """Return both ends of a new one, for `keep` and for the guardian, if there may be one."""
        if len(self._of) >= CRADLES_MAX:
            return None
        try:
            ours, theirs = socket.socketpair()
        except OSError:
            return None
        return ours, Cradle(theirs, self._waiting)

    def keep(self, pid: int, ours: socket.socket, cradle: Cradle) -> None:
        """Know this guardian by our end of its cradle, and leave it the other."""
        self._of[pid] = ours
        cradle.close()

    def hand(self, descriptors: list[int]) -> int:
        """Give a birth to who began to wait last, waking it up; return 0 if nobody waits."""
        while self._idle:
            pid = self._idle.pop()
            send(pid, signal.SIGCONT)
            with contextlib.suppress(OSError):  # it was killed
                socket.send_fds(self._of[pid], [b"\0"], descriptors)
                return pid
        return 0

    def discard(self, pid: int) -> None:
        """Forget one that is dead, if it is known."""
        if pid in self._of:
            self._of.pop(pid).close()
        if pid in self._idle:
            self._idle.remove(pid)

    def dismiss(self) -> None:
        """Let all who wait end."""
        for pid in self._idle:
            self._of.pop(pid).close()
        self._idle.clear()

    def leave(self, placed: tuple[socket.socket, Cradle] | None) -> Cradle | None:
        """In a fork: keep the own cradle, if there is one, and close what is the nursery's."""
        os.close(self.heard)
        ours, cradle = placed or (None, None)
        for end in (*self._of.values(), ours):
            if end is not None:
                end.close()
        return cradle


def receive_birth(own: socket.socket) -> tuple[int, int] | None:
    """Wait for link and terminal; ``None`` once nobody can send any."""
    while True:
        data, descriptors, *_ = socket.recv_fds(own, 1, BIRTH)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)  # noqa: FBT003 - the library's own signature
        if not data:
            return None
        if len(descriptors) == BIRTH:
            return descriptors[0], descriptors[1]
        for descriptor in descriptors:
            os.close(descriptor)


def _number(pid: bytes) -> int:
    return int.from_bytes(pid, "big")
