"""The guardian: a small program that answers with its life for one process tree.

It stands between a runner and one execution, so that the tree's fate never hangs on the runner
being alive, scheduled or honest about time::

    runner ◀──link──▶ guardian ─spawn──▶ command (own session, own terminal) ──▶ its tree

====================  =========================================================================
what happens          what the guardian does
====================  =========================================================================
link closed           the runner is dead: SIGKILL the whole tree
``kill``              SIGTERM to all descendants, SIGKILL to the whole tree after the grace; a
                      frozen tree is killed at once: it may not run one instruction more
``until T``           the tree may run until T of the boot-time clock; thaws a frozen one
clock passes T        SIGSTOP, again and again, until no process of the tree runs
T passed before       starts nothing before it is allowed to
the command ends      SIGKILL to whatever it left behind
the guardian dies     the nursery kills what it leaves; the runner sweeps by the tag
====================  =========================================================================

The tree is every descendant (the guardian is a child subreaper: who daemonises becomes its child)
and every process whose initial environment carries this execution's tag, whoever its parent is.
When nothing is left of it, and nobody had to interfere, it takes the next. Beyond reach: a process
that empties its environment *and* kills both, guardian and nursery.

On the link it says ``born PID``; hears what to run, as a `Request`; says ``started``, or ``failed
ERRNO cwd`` or ``failed ERRNO command``; is given orders; and says ``ended {json}`` when nothing is
left, or ``unsearched {json}`` when the runner has yet to search for the tag (see `grip`).

It is a fork of the nursery (see `forkserver`), with whose pages it begins: each page it writes to,
be it to count a reference, costs as much as many lines of code. So it does little, and leaves to
the nursery what that can do as well. Both run on the standard library alone.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time

from pandar_daemon.adapters.process import command, kernel
from pandar_daemon.adapters.process.cradle import Cradle
from pandar_daemon.adapters.process.grip import Grip
from pandar_daemon.adapters.process.kernel import BOOTTIME, LINUX
from pandar_daemon.adapters.process.request import Request, close, receive
from pandar_daemon.adapters.process.tree import Newcomers

EXECUTION_TAG = "PANDAR_EXECUTION_ID"
KILL, UNTIL = "kill", "until"
BORN = "born"
STARTED, FAILED, ENDED, UNSEARCHED = "started", "failed", "ended", "unsearched"

_WALL = 0x40000000 if LINUX else 0  # wait for children of every kind that Linux knows
_LOOK_SEC = 0.25  # between two looks at a frozen tree; or at the clock, where it cannot wake us
_QUIET_SEC = 3600.0
_BUSY_SEC = 0.005  # between two sweeps of a tree that is not yet dead or frozen


class Guardian:
    """One command and its tree; `run` returns when nothing of it is left."""

    def __init__(self, link: int, terminal: int, request: Request, tools: Tools) -> None:
        self.link, self.terminal = link, terminal
        self.sources = [link]
        self.until, self.grace_sec = request.until, request.grace_sec
        tag = os.fsdecode(request.environment[EXECUTION_TAG.encode()])
        self.grip = Grip(f"{EXECUTION_TAG}={tag}", Newcomers())
        self.tools, self.alarm = tools, tools.alarm
        self.child = 0
        self.ended: int | None = None  # the command's wait status
        self.killed = False  # by us, while the command was still running
        self.kill_at: float | None = None  # when SIGTERM turns into SIGKILL
        self.lifeline: int | None = None  # what keeps a box alive; its first process tells there
        self.used_sec, self.max_rss = 0.0, 0
        self.is_plain = True  # nobody killed it, stopped it, or found it late
        self.heard = b""

    def run(self, request: Request) -> None:
        """Start the command, guard it, let go of its terminal, and report how it ended."""
        late = _now() >= self.until
        if late:
            self._wait_to_start()
        if self.kill_at is None:
            self.alarm.set(self.until)
            if request.is_boxed:
                self._hold(request)
            self.child, failure = command.start(request, self.terminal)
            close(request.pipes)
            close(request.extras)
            if failure:
                self.is_plain = False
                report(self.link, f"{FAILED} {failure}")
                return
            if not late:
                report(self.link, STARTED)
            self._guard(self.tools.wake)
        close(request.pipes)
        close(request.extras)
        self._let_go_of_box()
        os.close(self.terminal)
        report(self.link, f"{ENDED if self.grip.is_searched else UNSEARCHED} {self._result()}")

    def _hold(self, request: Request) -> None:
        """Make the lifeline: a box ends when our end of it is closed, as by our death."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)  # noqa: FBT003 - the library's own signature
        self.lifeline = ours.detach()
        request.extras.append(theirs.detach())

    def _let_go_of_box(self) -> None:
        if self.lifeline is not None:
            os.close(self.lifeline)
            self.lifeline = None

    def _told(self, status: int) -> int:
        """Return how the command in a box ended, where that could be told; else how the box did."""
        if self.lifeline is None:
            return status
        try:
            said = os.read(self.lifeline, 64)
        except OSError:
            said = b""
        return int(said) if said.strip().isdigit() else status

    def _wait_to_start(self) -> None:
        """Return when allowed or condemned: somebody stopped us, or the runner, past the deadline.

        The runner is told that it started, as of a tree that is frozen: so it gives orders.
        """
        self.is_plain = False
        report(self.link, STARTED)
        while self.kill_at is None and _now() >= self.until:
            select.select(self.sources, [], [])
            self._listen()

    def _guard(self, wake: int) -> None:
        """Return when nothing is left of the tree."""
        self.sources += [wake, *self.alarm.sources]
        pause: float | None = 0.0
        while pause is not None:
            ready, _, _ = select.select(self.sources, [], [], pause)
            for source in ready:
                if source != self.link:
                    os.read(source, 4096)
            if self.link in ready:
                self._listen()
            self._reap()
            pause = self._enforce()

    def _listen(self) -> None:
        data = receive(self.link, 4096)
        if not data:
            self.grip.is_forsaken = True
            self._condemn(0)
            self.sources.remove(self.link)
            return
        *lines, self.heard = (self.heard + data).split(b"\n")
        for line in lines:
            order, _, argument = line.decode().partition(" ")
            if order == UNTIL:
                self.until = float(argument)
                self.alarm.set(self.until)
            elif order == KILL and self.kill_at is None:
                self._condemn(self.grace_sec)

    def _condemn(self, grace_sec: float) -> None:
        self.is_plain = False
        self.killed = self.killed or self.ended is None
        self.kill_at = _now() + grace_sec
        if grace_sec and not self.grip.is_frozen and _now() < self.until:
            self.grip.ask()

    def _reap(self) -> None:
        try:
            while True:
                pid, status, used = os.wait4(-1, os.WNOHANG | _WALL)
                if pid == 0:
                    return
                self.used_sec += used.ru_utime + used.ru_stime
                self.max_rss = max(self.max_rss, used.ru_maxrss)
                if pid == self.child:
                    self.ended = self._told(status)
        except ChildProcessError:
            self.grip.childless = True

    def _enforce(self) -> float | None:
        """Do what is due; return how long nothing will be, ``None`` when all is over."""
        now = _now()
        if self.kill_at is not None:
            due = self.grip.is_frozen or self.grip.childless or now >= min(self.kill_at, self.until)
            return self._kill() if due else _BUSY_SEC * 4
        if self.ended is not None:
            return self._kill()
        if now >= self.until:
            self.is_plain = False
            return _BUSY_SEC if self.grip.freeze() else _LOOK_SEC
        self.grip.thaw()
        return min(_QUIET_SEC if self.alarm.sources else _LOOK_SEC, self.until - now)

    def _kill(self) -> float | None:
        """SIGKILL everything; over when the command is reaped and none we can reach is left."""
        hit = self.grip.kill()
        self._reap()
        return _BUSY_SEC if hit or self.ended is None else None

    def _result(self) -> str:
        code = os.waitstatus_to_exitcode(self.ended or 0)
        rss = self.max_rss * (1024 if LINUX else 1)
        shown = "null" if self.killed else str(code if code >= 0 else 128 - code)
        return (
            f'{{"exit_code": {shown}, "signal": {-code if code < 0 else "null"}, '
            f'"cpu_sec": {self.used_sec:.3f}, "max_rss_bytes": {rss}}}'
        )


class Tools:
    """What one guardian uses for all its executions."""

    def __init__(self) -> None:
        self.alarm = kernel.Alarm()
        self.wake, _ = wake_on_signals()


def guard(link: int, terminal: int, nursery: int, cradle: Cradle | None) -> None:
    """Be the guardian of executions in a fresh fork, one at a time; return when that is over.

    After an execution that ended by itself, whose runner has let go of it, and that changed
    nothing of what a process inherits, it waits for the next in its cradle. The nursery must catch
    signals rather than ignore them, because what is executed gets default effects only then.
    """
    kernel.die_with(nursery)  # or it might die before it told the runner who we are
    os.setsid()
    kernel.adopt_orphans()
    tools, standing = Tools(), kernel.standing()
    birth: tuple[int, int] | None = (link, terminal)
    while birth is not None and _guard_one(*birth, tools):
        if cradle is None or standing is None or kernel.standing() != standing:
            return
        kernel.die_with(nursery)
        kernel.be_called(b"pandar-idle")
        birth = cradle.wait()


def _guard_one(link: int, terminal: int, tools: Tools) -> bool:
    """Return whether it was as if it had never been."""
    kernel.be_called(b"pandar-guardian")
    _introduce(link)
    request = Request.read(link)
    kernel.outlive_parent()
    if request is None:
        return False
    guardian = Guardian(link, terminal, request, tools)
    guardian.run(request)
    return guardian.is_plain and _let_go(link)


def _introduce(link: int) -> None:
    """Say who we are, with what signals us and never another; in vain if nobody listens."""
    handles: list[int] = []
    with contextlib.suppress(AttributeError, OSError):  # a kernel without such handles
        handles.append(os.pidfd_open(os.getpid()))
    with socket.socket(fileno=os.dup(link)) as asker, contextlib.suppress(OSError):
        socket.send_fds(asker, [f"{BORN} {os.getpid()}\n".encode()], handles)
    for handle in handles:
        os.close(handle)


def _let_go(link: int) -> bool:
    """Return once the runner has closed its end: from then on no order can be meant for us."""
    with socket.socket(fileno=link) as ended:
        with contextlib.suppress(OSError):  # it closed before us
            ended.shutdown(socket.SHUT_WR)
        while receive(link, 4096):
            pass
    return True


def report(link: int, line: str) -> None:
    """Tell the runner; in vain when it is dead."""
    with contextlib.suppress(ConnectionError):
        os.write(link, f"{line}\n".encode())


def _now() -> float:
    return time.clock_gettime(BOOTTIME)


def wake_on_signals() -> tuple[int, int]:
    """Return a pipe that is readable when a signal was caught."""
    wake, ring = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(ring, False)
    signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
    return wake, ring
