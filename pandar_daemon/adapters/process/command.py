"""The command of an execution: how a guardian starts it in a session and terminal of its own.

Standard library only, for the guardian's sake.
"""

from __future__ import annotations

import errno
import fcntl
import os
import termios

from pandar_daemon.adapters.process import kernel
from pandar_daemon.adapters.process.request import Request

CWD, COMMAND = "cwd", "command"
"""What can be at fault when a command cannot be started."""


def start(request: Request, terminal: int) -> tuple[int, str]:
    """Fork and execute; return its process id, and the errno of a failure and what failed.

    It dies with us. All descriptors of ours but the standard ones must close on execution, and all
    signals be caught or have their default effect.
    """
    broken, told = os.pipe()
    guardian = os.getpid()
    try:
        child = os.fork()
    except OSError as error:
        return 0, f"{error.errno} {COMMAND}"
    if child == 0:
        try:
            _become(request, terminal, guardian, told)
        finally:
            os._exit(127)
    os.close(told)
    failure = os.read(broken, 64).decode()
    os.close(broken)
    return child, failure


def _become(request: Request, terminal: int, guardian: int, told: int) -> None:
    """In the child: take the terminal and execute; or tell why not."""
    kernel.die_with(guardian)
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    for standard in range(3):
        os.dup2(terminal, standard)
    failing = CWD
    try:
        os.chdir(request.cwd)
        failing = COMMAND
        _execute(request)
    except OSError as error:
        os.write(told, f"{error.errno or 1} {failing}".encode())


def _execute(request: Request) -> None:
    """Look for the program where its own environment says, as `os.execvpe` would at more cost."""
    name = request.argv[0]
    places = request.environment.get(b"PATH", os.defpath.encode()).split(b":")
    failure: OSError | None = None
    for path in [name] if b"/" in name else [(place or b".") + b"/" + name for place in places]:
        try:
            os.execve(path, request.argv, request.environment)  # noqa: S606 - no shell is asked for
        except (FileNotFoundError, NotADirectoryError) as error:
            failure = failure or error
        except OSError as error:
            missing = isinstance(failure, FileNotFoundError | NotADirectoryError)
            failure = error if failure is None or missing else failure
    raise failure or FileNotFoundError(errno.ENOENT, "nowhere to look for it")
