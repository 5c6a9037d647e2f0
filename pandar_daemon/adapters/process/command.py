"""The command of an execution: how a guardian starts it in a session and terminal of its own.

Standard library only, for the guardian's sake.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os

from pandar_daemon.adapters.process.request import EXTRAS_FROM, EXTRAS_MAX, Request

CWD, COMMAND = "cwd", "command"
"""What can be at fault when a command cannot be started."""
_Actions = list[tuple[int, int, str, int, int]]


def start(request: Request, terminal: int) -> tuple[int, str]:
    """Start it; return its process id, and the errno of a failure and what failed.

    All descriptors of ours must close on execution, and all signals be caught or have their default
    effect. We are in its folder for a moment: nothing is copied to start it, as a fork would.
    """
    failing = CWD
    try:
        os.chdir(request.cwd)
        failing = COMMAND
        return _spawn(request, os.ttyname(terminal)), ""
    except OSError as error:
        return 0, f"{error.errno or 1} {failing}"
    finally:
        os.chdir("/")


def _spawn(request: Request, terminal: str) -> int:
    """Look for the program where its own environment says, as `os.posix_spawnp` would in ours.

    A leader of a session takes the first terminal that it opens as its own.
    """
    shown = 2 if request.pipes else 0
    standard = [(os.POSIX_SPAWN_OPEN, shown, terminal, os.O_RDWR, 0)]
    others = enumerate(request.pipes) if request.pipes else ((1, 0), (2, 0))
    standard += [(os.POSIX_SPAWN_DUP2, own, number) for number, own in others]  # type: ignore[misc]
    lifted = [_lift(own) for own in request.extras]
    extras = enumerate(lifted, EXTRAS_FROM)
    standard += [(os.POSIX_SPAWN_DUP2, own, number) for number, own in extras]  # type: ignore[misc]
    try:
        return _start_either(request, standard)
    finally:
        for number in lifted:
            os.close(number)


def _lift(own: int) -> int:
    """Return another number of a descriptor, one that no other is to get in the command."""
    return fcntl.fcntl(own, fcntl.F_DUPFD_CLOEXEC, EXTRAS_FROM + EXTRAS_MAX)


def _start_either(request: Request, standard: _Actions) -> int:
    """Let the shell say what is wrong with what cannot be started without it."""
    if request.direct:
        with contextlib.suppress(OSError):
            return _search(request.direct, request, standard)
    return _search(request.argv, request, standard)


def _search(argv: list[bytes], request: Request, standard: _Actions) -> int:
    name = argv[0]
    places = request.environment.get(b"PATH", os.defpath.encode()).split(b":")
    failure: OSError | None = None
    for path in [name] if b"/" in name else [(place or b".") + b"/" + name for place in places]:
        try:
            os.stat(path)  # noqa: PTH116 - or a process would be made to find out
            return os.posix_spawn(
                path, argv, request.environment, file_actions=standard, setsid=True
            )
        except (FileNotFoundError, NotADirectoryError) as error:
            failure = failure or error
        except OSError as error:
            missing = isinstance(failure, FileNotFoundError | NotADirectoryError)
            failure = error if failure is None or missing else failure
    raise failure or FileNotFoundError(errno.ENOENT, "nowhere to look for it")
