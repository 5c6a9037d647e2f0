"""The first process of a box: makes its doors, starts the command, and takes the box with it.

It runs inside, as process 1 of a namespace of processes: when it ends, by whatever cause, the
kernel kills everybody else in there::

    runner ◀──setup──▶ init ─fork──▶ command        lifeline: held by the guardian alone
                        └──lifeline──▶ guardian

1. It listens at each door it was told of, and hands these sockets out on ``setup``.
2. It is told there what to run, and within which limits; says ``started`` or ``failed ERRNO
   WHAT``; and closes it.
3. When the command ends it says its wait status on the lifeline, and ends. When the lifeline
   closes nobody guards the box any longer: it ends at once.

It runs on modules that are built into the interpreter, because its start is part of the cost of
every task. It reads no file and no environment. Nobody in the box may look into it.
"""

from __future__ import annotations

import _ctypes
import _signal  # type: ignore[import-not-found]  # `signal` would import half a library
import _socket
import errno
import os
import select
import sys

TYPE_CHECKING = False  # `typing` would be one more library
if TYPE_CHECKING:
    from collections.abc import Callable

TEXTS_BYTES = 8
"""The length of a message, in bytes before it."""
UNIX, TCP = "unix:", "tcp:"
BACKLOG = 128
_PR_SET_DUMPABLE, _PR_SET_NAME = 4, 15
_NAME = b"pandar-init\0"


def main() -> None:
    """Run as ``init SETUP LIFELINE DOOR…``; a door is ``unix:PATH`` or ``tcp:PORT``."""
    hide()
    setup, lifeline = (_socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    for end in (setup, lifeline):
        os.set_inheritable(end.fileno(), False)  # noqa: FBT003 - the library's own signature
    doors = [_listen(door) for door in sys.argv[3:]]
    wake = wake_on_signals()
    hand_out(setup, doors)
    texts = receive(setup, lifeline)
    child = start(texts, setup)
    setup.close()
    _attend(child, lifeline, wake)


def hide() -> None:
    """Let nobody else in the box look into us, or keep us from ending."""
    library = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # this very program
    prctl = _ctypes.dlsym(library, "prctl")
    _ctypes.call_function(prctl, (_PR_SET_DUMPABLE, 0, 0, 0, 0))
    _ctypes.call_function(prctl, (_PR_SET_NAME, _NAME, 0, 0, 0))


def wake_on_signals() -> int:
    """Catch what is meant for the command, too; return what is readable when a child ended."""
    wake, ring = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    _signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
    for number in (_signal.SIGCHLD, _signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP):
        _signal.signal(number, _ignore)
    return wake


def _ignore(*_: object) -> None:
    """The guardian signals everybody in the box itself."""


def _listen(door: str) -> _socket.socket:
    if door.startswith(UNIX):
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        listener.bind(door[len(UNIX) :])
    else:
        listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", int(door[len(TCP) :])))
    listener.listen(BACKLOG)
    return listener


def hand_out(setup: _socket.socket, doors: list[_socket.socket]) -> None:
    """Say that we are ready, and give the doors away."""
    numbers = b"".join(door.fileno().to_bytes(4, sys.byteorder) for door in doors)
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, numbers)] if doors else []
    setup.sendmsg([b"ready\n"], rights)
    for door in doors:
        door.close()


def receive(setup: _socket.socket, lifeline: _socket.socket) -> list[bytes]:
    """Return what is to be run; end when nobody will say it any more."""
    data, length = b"", -1
    while length < 0 or len(data) < length:
        ready, _, _ = select.select([setup, lifeline], [], [])
        more = setup.recv(65_536) if setup in ready else b""
        if not more:
            os._exit(0)
        data += more
        if length < 0 and len(data) >= TEXTS_BYTES:
            length, data = int.from_bytes(data[:TEXTS_BYTES], "big"), data[TEXTS_BYTES:]
    return data.split(b"\0")


def start(
    texts: list[bytes], setup: _socket.socket, confine: Callable[[], None] | None = None
) -> int:
    """Start the command, and say so; end when it cannot be started, having said why.

    ``confine`` is called last before it begins, where there is more to give up than limits.
    """
    heard, said = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if not child:
        os._exit(_become(texts, said, confine))
    os.close(said)
    failure = os.read(heard, 4096)
    os.close(heard)
    setup.send((b"failed " + failure if failure else b"started") + b"\n")
    if failure:
        os._exit(127)
    return child


def _become(texts: list[bytes], said: int, confine: Callable[[], None] | None) -> int:
    """In the child: become the command; return when that cannot be."""
    what = b"cwd"
    try:
        for number in _signal.valid_signals():
            if number not in {_signal.SIGKILL, _signal.SIGSTOP}:
                _signal.signal(number, _signal.SIG_DFL)
        cwd, limits, count, *rest = texts
        os.chdir(cwd)
        what = b"limits"
        _limit(limits)
        what = b"sandbox"
        if confine is not None:
            confine()
        what = b"command"
        argv, pairs = rest[: int(count)], rest[int(count) :]
        environment = {name: value for name, _, value in (p.partition(b"=") for p in pairs)}
        _execute(argv, environment)
    except OSError as error:
        os.write(said, b"%d %s" % (error.errno or errno.EIO, what))
    return 127


def _limit(limits: bytes) -> None:
    """Set ``NUMBER:VALUE`` pairs, each no higher than it was."""
    import resource  # noqa: PLC0415 - a library file: only the child pays for it

    for pair in limits.split():
        number, value = (int(text) for text in pair.split(b":"))
        _, hard = resource.getrlimit(number)
        wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (wanted, wanted))


def _execute(argv: list[bytes], environment: dict[bytes, bytes]) -> None:
    """Look for the program where its own environment says."""
    places = environment.get(b"PATH", b"/usr/bin:/bin").split(b":")
    failure: OSError | None = None
    for path in [argv[0]] if b"/" in argv[0] else [(at or b".") + b"/" + argv[0] for at in places]:
        try:
            os.execve(path, argv, environment)  # noqa: S606 - what we are here for
        except OSError as error:
            if failure is None or failure.errno in {errno.ENOENT, errno.ENOTDIR}:
                failure = error
    raise failure or OSError(errno.ENOENT, "")


def _attend(child: int, lifeline: _socket.socket, wake: int) -> None:
    """Reap until the command ends, or nobody guards us any more."""
    while True:
        ready, _, _ = select.select([lifeline.fileno(), wake], [], [])
        if wake not in ready:
            os._exit(0)
        os.read(wake, 512)
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            if pid == child:
                end(lifeline, status)


def end(lifeline: _socket.socket, status: int) -> None:
    """End, having said how the command did."""
    try:  # noqa: SIM105 - a library file more would be paid for by every task
        lifeline.send(b"%d\n" % status)
    except OSError:
        pass
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
