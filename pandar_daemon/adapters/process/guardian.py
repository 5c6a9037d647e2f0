"""The guardian: a small program that answers with its life for one process tree.

It stands between a runner and one execution, so that the tree's fate never hangs on the runner
being alive, scheduled or honest about time::

    runner ──lifeline──▶ guardian ──fork──▶ command (own session, own terminal) ──▶ its tree
           ◀──status────

====================  =========================================================================
what happens          what the guardian does
====================  =========================================================================
lifeline closed       the runner is dead: SIGKILL the whole tree
``kill``              SIGTERM to the whole tree, SIGKILL after the grace; a frozen tree is killed
                      at once, because it may not run one instruction more
``until T``           the tree may run until T of the boot-time clock; thaws a frozen one
clock passes T        SIGSTOP, again and again, until no process of the tree runs
the command ends      SIGKILL to whatever it left behind
the guardian dies     the command gets SIGKILL by the kernel; the runner sweeps by the tag
====================  =========================================================================

The tree is every descendant (the guardian is a child subreaper: who daemonises becomes its child)
and every process whose initial environment carries this execution's tag, whoever its parent is.
Beyond reach: a process that empties its environment *and* outlives a killed guardian.

The status pipe says ``started`` or ``failed ERRNO``; and ``ended {json}`` when nothing is left.

Runs on the standard library alone (``python -I -S``), to start in about 20 ms.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import select
import signal
import sys
import termios
import time

from pandar_daemon.adapters.process.tree import LINUX, STOPPED, Entry, send, tree

EXECUTION_TAG = "PANDAR_EXECUTION_ID"
BOOTTIME = 7 if LINUX else time.CLOCK_MONOTONIC  # CLOCK_BOOTTIME counts suspended time too
KILL, UNTIL = "kill", "until"
STARTED, FAILED, ENDED = "started", "failed", "ended"

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_IDLE_SEC = 0.25  # select() does not count suspended time: look at the clock this often
_BUSY_SEC = 0.005  # between two sweeps of a tree that is not yet dead or frozen


class Guardian:
    """One command and its tree; `run` returns when nothing of it is left."""

    def __init__(
        self, lifeline: int, status: int, terminal: int, *, until: float, grace_sec: float
    ) -> None:
        self.lifeline, self.status, self.terminal = lifeline, status, terminal
        self.sources = [lifeline]
        self.until, self.grace_sec = until, grace_sec
        self.tag = f"{EXECUTION_TAG}={os.environ[EXECUTION_TAG]}"
        self.child = 0
        self.ended: int | None = None  # the command's wait status
        self.killed = False  # by us, while the command was still running
        self.kill_at: float | None = None  # when SIGTERM turns into SIGKILL
        self.frozen: set[int] | None = None  # whom we stopped, while past the deadline
        self.heard = b""

    def run(self, argv: list[str]) -> None:
        """Start the command, guard it, and report how it ended."""
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        wake = _wake_on_signals()
        self.sources.append(wake)
        if error := self._start(argv):
            self._report(f"{FAILED} {error}")
            return
        self._report(STARTED)
        pause: float | None = 0.0
        while pause is not None:
            ready, _, _ = select.select(self.sources, [], [], pause)
            if wake in ready:
                os.read(wake, 4096)
            if self.lifeline in ready:
                self._listen()
            self._reap()
            pause = self._enforce()
        self._report(f"{ENDED} {self._result()}")

    def _start(self, argv: list[str]) -> int:
        """Fork and execute; return the errno of a failure, or 0."""
        broken, report = os.pipe()
        guardian = os.getpid()
        self.child = os.fork()
        if self.child == 0:
            try:
                _become(argv, self.terminal, guardian)
            except OSError as error:
                os.write(report, str(error.errno or 1).encode())
            finally:
                os._exit(127)
        os.close(report)
        return int(os.read(broken, 16) or 0)

    def _listen(self) -> None:
        data = os.read(self.lifeline, 4096)
        if not data:
            self._condemn(0)
            self.sources.remove(self.lifeline)
            return
        *lines, self.heard = (self.heard + data).split(b"\n")
        for line in lines:
            order, _, argument = line.decode().partition(" ")
            if order == UNTIL:
                self.until = float(argument)
            elif order == KILL and self.kill_at is None:
                self._condemn(self.grace_sec)

    def _condemn(self, grace_sec: float) -> None:
        self.killed = self.killed or self.ended is None
        self.kill_at = _now() + grace_sec
        if grace_sec and self.frozen is None and _now() < self.until:
            for process in self._tree():
                send(process.pid, signal.SIGTERM)
                send(process.pid, signal.SIGCONT)  # one stopped by its shell hears it too

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self.child:
                    self.ended = status

    def _enforce(self) -> float | None:
        """Do what is due; return how long nothing will be, ``None`` when all is over."""
        now = _now()
        if self.kill_at is not None:
            frozen = self.frozen is not None or now >= self.until
            return self._kill() if frozen or now >= self.kill_at else self._wind_down()
        if self.ended is not None:
            return self._kill()
        if now >= self.until:
            return self._freeze()
        self._thaw()
        return min(_IDLE_SEC, self.until - now)

    def _wind_down(self) -> float | None:
        return None if self.ended is not None and not self._tree() else _BUSY_SEC * 4

    def _kill(self) -> float | None:
        """SIGKILL everything; over when the command is reaped and none we can reach is left."""
        hit = [process for process in self._tree() if send(process.pid, signal.SIGKILL)]
        self._reap()
        return _BUSY_SEC if hit or self.ended is None else None

    def _freeze(self) -> float:
        """Stop everything, parents before children, so that none sees its child stop."""
        self.frozen = set() if self.frozen is None else self.frozen
        running = [process for process in self._tree() if not self._is_frozen(process)]
        for process in running:
            if send(process.pid, signal.SIGSTOP):
                self.frozen.add(process.pid)
        return _BUSY_SEC if running else _IDLE_SEC

    def _is_frozen(self, process: Entry) -> bool:
        # A parent in vfork waits in the kernel for a child that we stopped: it stops on leaving.
        waits = process.state == "D" and self.frozen is not None and process.pid in self.frozen
        return waits or process.state in STOPPED

    def _thaw(self) -> None:
        """Let go on whom we stopped, children before parents; who was stopped before, stays."""
        if self.frozen is None:
            return
        for process in reversed(self._tree()):
            if process.pid in self.frozen:
                send(process.pid, signal.SIGCONT)
        self.frozen = None

    def _tree(self) -> list[Entry]:
        return tree(self.tag, os.getpid())

    def _result(self) -> str:
        code = os.waitstatus_to_exitcode(self.ended or 0)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        rss = used.ru_maxrss * (1024 if LINUX else 1)
        shown = "null" if self.killed else str(code if code >= 0 else 128 - code)
        return (
            f'{{"exit_code": {shown}, "signal": {-code if code < 0 else "null"}, '
            f'"cpu_sec": {used.ru_utime + used.ru_stime:.3f}, "max_rss_bytes": {rss}}}'
        )

    def _report(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # the runner is dead: nobody to tell
            os.write(self.status, f"{line}\n".encode())


def _now() -> float:
    return time.clock_gettime(BOOTTIME)


def _prctl(option: int, argument: int) -> None:
    if LINUX and ctypes.CDLL(None).prctl(option, argument, 0, 0, 0) != 0:
        sys.exit(f"prctl({option}) was refused")


def _wake_on_signals() -> int:
    """Return a descriptor that is readable when a child ended; ignore requests to end."""
    wake, ring = os.pipe()
    for descriptor in (wake, ring):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the lifeline alone decides
    return wake


def _become(argv: list[str], terminal: int, guardian: int) -> None:
    """In the child: take the terminal, forget the guardian's signals, execute."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guardian:
        os._exit(127)  # it died before the kernel was told
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    for standard in range(3):
        os.dup2(terminal, standard)
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.execvpe(argv[0], argv, _environment())  # noqa: S606 - a shell is the caller's choice


def _environment() -> dict[bytes, bytes]:
    """Return the environment as we got it: Python adds LC_CTYPE to its own when there is none."""
    if not LINUX:
        return dict(os.environb)
    with open("/proc/self/environ", "rb") as file:  # noqa: PTH123 - pathlib is slow to import
        pairs = [item.partition(b"=") for item in file.read().split(b"\0") if item]
    return {name: value for name, _, value in pairs}


def main() -> None:
    """Run as ``guardian.py LIFELINE STATUS TERMINAL UNTIL GRACE_SEC COMMAND...``."""
    lifeline, status, terminal = (int(text) for text in sys.argv[1:4])
    for descriptor in (lifeline, status, terminal):
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - the library's own signature
    until, grace_sec = float(sys.argv[4]), float(sys.argv[5])
    guardian = Guardian(lifeline, status, terminal, until=until, grace_sec=grace_sec)
    guardian.run(sys.argv[6:])


if __name__ == "__main__":
    main()
