"""The runner's side of the nursery: the process that forks its guardians (see `forkserver`)."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from pandar_daemon.adapters.process import forkserver
from pandar_daemon.adapters.process.ends import Theirs

DESCRIPTORS = 65_536
"""How many the runner may have open, if the machine lets it: an execution takes three here
and one for its spool."""

REST_SEC = 10.0
"""Without a birth for so long, guardians that wait for one end."""
_FULL_SEC = 0.01  # between two looks at a queue that holds some hundred requests
_ROOT = Path(forkserver.__file__).parents[3]
_PROGRAM = (
    f"import sys; sys.path.append(sys.argv.pop(1)); from {forkserver.__name__} import main; main()"
)


class Nursery:
    """One process. When it is dead, stopped or broken, it is closed and replaced by another."""

    def __init__(self, environment: Mapping[str, str], descriptor_limit: int) -> None:
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(0)
        with theirs:
            self._process = self._start(theirs.fileno(), environment, descriptor_limit)

    def _start(
        self, requests: int, environment: Mapping[str, str], descriptor_limit: int
    ) -> subprocess.Popen[bytes]:
        numbers = map(str, (requests, os.getpid(), descriptor_limit, REST_SEC))
        try:
            return subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-I", "-S", "-c", _PROGRAM, str(_ROOT), *numbers],
                stdin=subprocess.DEVNULL,
                cwd="/",
                env=environment,
                pass_fds=(requests,),
                start_new_session=True,
            )
        except BaseException:
            self._socket.close()
            raise

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def bear(self, theirs: Theirs) -> None:
        """Hand these over for a guardian, waking the nursery up; close them in any case.

        Raises ``ConnectionError`` when the nursery is dead.
        """
        try:
            while not self._asked(theirs):  # noqa: ASYNC110 - another process works
                await asyncio.sleep(_FULL_SEC)
        finally:
            for descriptor in theirs:
                os.close(descriptor)

    def _asked(self, theirs: Theirs) -> bool:
        if self._process.poll() is not None:
            raise BrokenPipeError("the nursery is dead")
        self._process.send_signal(signal.SIGCONT)
        try:
            socket.send_fds(self._socket, [b"\0"], theirs)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Kill it; whom it bore live on. Idempotent."""
        self._socket.close()
        self._process.kill()
        self._process.wait()


def raise_descriptor_limit() -> int:
    """Let this process open `DESCRIPTORS` files if it may; return how many it could before."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return soft
