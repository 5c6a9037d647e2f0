"""Servers as children of this process: started detached from its terminal, never outliving it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from pandar_daemon.adapters.embedded import launch

STOP_TIMEOUT_SEC = 10.0
MAX_LOG_BYTES = 10_000_000
_PASSED_ON = ("PATH", "HOME", "TMPDIR", "DYLD_LIBRARY_PATH", "LD_LIBRARY_PATH")


class Program(Struct, frozen=True, kw_only=True):
    """What to run: absolute ``argv[0]``, its log, and how it is told to stop and then to quit.

    ``keep_fd`` is a descriptor the child inherits, so that a lock on it lasts as long as it does.
    """

    argv: tuple[str, ...]
    log: Path
    stop: signal.Signals
    quit: signal.Signals = signal.SIGKILL
    identity: str = "same"
    environment: Mapping[str, str] = {}
    keep_fd: int | None = None


class Child:
    """A running server; ``pid`` is its own, since the launcher becomes it."""

    def __init__(self, program: Program, process: Process) -> None:
        self._program = program
        self._process = process

    @property
    def pid(self) -> int:
        """Return its process id, which stays valid until it was waited for."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Return how it ended (minus the signal, if one ended it), ``None`` while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Return its exit code once it ended."""
        return await self._process.wait()

    async def stop(self) -> None:
        """End it in order, after 10 s by force; returns when it is gone. Harmless if it is."""
        for number in (self._program.stop, self._program.quit, signal.SIGKILL):
            self.send(number)
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_TIMEOUT_SEC):
                    await self.wait()
                    return

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.exit_code is None:
            try:
                self._process.send_signal(number)
            except ProcessLookupError:
                return


async def start(program: Program) -> Child:
    """Start a server; call it from a thread that lives as long as the server should.

    Its session is its own, so Ctrl-C reaches only us. Raises ``OSError`` when there is no process.
    """
    log = _open_log(program.log)
    keep = () if program.keep_fd is None else (program.keep_fd,)
    try:
        process = await asyncio.create_subprocess_exec(
            *_launcher(program),
            stdin=DEVNULL,
            stdout=log,
            stderr=STDOUT,
            start_new_session=True,
            pass_fds=keep,
            cwd="/",
            env=_environment(program.environment),
        )
    finally:
        os.close(log)
    return Child(program, process)


async def run(program: Program) -> int:
    """Run a program to its end and return its exit code; cancelling ends it."""
    child = await start(program)
    try:
        return await child.wait()
    finally:
        await child.stop()


def last_words(log: Path, *, lines: int = 6) -> str:
    """Return the end of a log, to be shown with a failure."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:])


def _launcher(program: Program) -> Sequence[str]:
    return (
        *(sys.executable, "-I", "-S", launch.__file__),
        *(str(os.getpid()), str(int(program.stop)), program.identity, "--"),
        *program.argv,
    )


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | dict(extra)


def _open_log(path: Path) -> int:
    if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o600)
