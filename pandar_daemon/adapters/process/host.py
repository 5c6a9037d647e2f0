"""Process trees on this machine, each started and ended by a `guardian`.

No thread and no buffer stands between a terminal and its reader: what nobody reads stays in the
kernel, and the program that writes waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import IO

import msgspec
import structlog

from pandar_daemon.adapters.process import guardian
from pandar_daemon.adapters.process.tree import holders, send, tree
from pandar_daemon.ports import Exit, Spec

log = structlog.get_logger(__name__)

HOME_TAG = "PANDAR_RUNNER_HOME"
"""In the environment of every process: the data directory of the runner it belongs to."""

READ_BYTES = 65_536
LATE_SEC = 2.0
"""What a guardian may take, beyond the grace, to kill its tree; then it is killed itself."""
START_SEC = 30.0
_SWEEP_PAUSE_SEC = 0.01
_ROOT = Path(guardian.__file__).parents[3]
_PROGRAM = (
    f"import sys; sys.path.append(sys.argv.pop(1)); from {guardian.__name__} import main; main()"
)


class Ends:
    """Our ends of what connects us with a guardian; each is closed once, and then unusable."""

    def __init__(self, lifeline: int, status: int, terminal: int) -> None:
        self._open = {"lifeline": lifeline, "status": status, "terminal": terminal}
        for descriptor in self._open.values():
            os.set_blocking(descriptor, False)

    async def read(self, name: str) -> bytes:
        """Return what there is to read, waiting for something; empty at the end."""
        return await _read(self._open[name]) if name in self._open else b""

    def order(self, line: str) -> None:
        """Tell the guardian; in vain when it is gone, or does not listen."""
        if "lifeline" in self._open:
            with contextlib.suppress(BrokenPipeError, BlockingIOError):
                os.write(self._open["lifeline"], line.encode())

    def close(self, *names: str) -> None:
        """Close these, unless they are closed already."""
        for name in names:
            if name in self._open:
                os.close(self._open.pop(name))


class TerminalProcess:
    """A process tree under a guardian.

    The tree has our own rights, so it may stop or kill its guardian: each order wakes that up, and
    one that does not obey is killed, and with it what has its tag or holds its terminal.
    """

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        ends: Ends,
        *,
        tag: str,
        shown: str,
        patience_sec: float,
    ) -> None:
        self._guardian = child
        self._ends = ends
        self._tag = tag
        self._shown = shown
        self._patience_sec = patience_sec
        self._ended: asyncio.Task[Exit] | None = None
        self._insisting: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The guardian's process id."""
        return self._guardian.pid

    async def begin(self, command: str) -> None:
        """Return once the command runs; raises ``OSError`` naming it when it cannot."""
        said = b""
        while b"\n" not in said and (more := await self._ends.read("status")):
            said += more
        first, _, rest = said.partition(b"\n")
        self._ended = asyncio.create_task(self._end(rest))
        word, _, number = first.decode().partition(" ")
        if word != guardian.STARTED:
            await self.wait()
            failure = int(number or 0)
            reason = os.strerror(failure) if failure else "its guardian died"
            raise OSError(failure, reason, command)

    async def output(self) -> AsyncGenerator[bytes, None]:
        """Iterate over what the terminal shows, until the last process closed it."""
        try:
            while data := await self._ends.read("terminal"):
                yield data
        finally:
            self._ends.close("terminal")

    async def allow_until(self, boottime: float) -> None:
        """Let it run until then; past it the whole tree is frozen, until allowed again."""
        self._order(f"{guardian.UNTIL} {boottime!r}\n")

    async def kill(self) -> None:
        """Kill the whole tree: at once when it is frozen, else after SIGTERM and the grace."""
        self._order(f"{guardian.KILL}\n")
        if self._ended is not None:
            self._insisting = self._insisting or asyncio.create_task(self._insist(self._ended))

    def _order(self, line: str) -> None:
        self._ends.order(line)
        self._guardian.send_signal(signal.SIGCONT)

    async def _insist(self, ended: asyncio.Task[Exit]) -> None:
        await asyncio.wait({ended}, timeout=self._patience_sec)
        if not ended.done():
            log.warning("guardian.killed", pid=self.pid)
            self._guardian.kill()

    async def wait(self) -> Exit:
        """Return once nothing of the tree is left."""
        if self._ended is None:
            raise RuntimeError("the process was never begun")
        return await asyncio.shield(self._ended)

    def forsake(self) -> None:
        """Let go of it: the guardian then kills the tree."""
        self._ended = self._ended or asyncio.create_task(self._end(b""))
        self._ends.close("lifeline", "terminal")
        self._insisting = self._insisting or asyncio.create_task(self._insist(self._ended))

    async def _end(self, said: bytes) -> Exit:
        while more := await self._ends.read("status"):
            said += more
        self._guardian.wait()  # it closed the pipe by exiting: this does not block
        self._ends.close("lifeline", "status")
        word, _, result = said.decode().strip().partition(" ")
        if word == guardian.ENDED:
            return msgspec.json.decode(result, type=Exit)
        # The guardian was killed, and its command with it.
        await _kill_all(lambda: {p.pid for p in tree(self._tag)} | holders(self._shown))
        return Exit(exit_code=None, signal=signal.SIGKILL)


class Host:
    """Starts process trees for the one runner that owns a data directory."""

    def __init__(self, data: Path, *, grace_sec: float = 5.0) -> None:
        self._data = data.resolve()
        self._grace_sec = grace_sec
        self._lock: IO[str] | None = None

    async def start(self, spec: Spec) -> TerminalProcess:
        """Start it; raises ``OSError`` naming what could not be started."""
        process = self._spawn(spec)
        try:
            async with asyncio.timeout(START_SEC):  # a command may stop its guardian at once
                await process.begin(spec.argv[0])
        except BaseException:
            process.forsake()
            raise
        return process

    async def sweep(self) -> int:
        """Kill what an earlier, killed incarnation of this runner left; return how many.

        Raises ``OSError`` when another runner is using the same data directory.
        """
        self._claim_data()
        return await kill_tagged(f"{HOME_TAG}={self._data}")

    def _spawn(self, spec: Spec) -> TerminalProcess:
        heard, lifeline = os.pipe()
        status, told = os.pipe()
        terminal, shown = _open_terminal(spec.rows, spec.columns)
        shown_as = os.ttyname(shown)
        ends, theirs = Ends(lifeline, status, terminal), (heard, told, shown)
        try:
            child = self._popen(spec, theirs)
        except OSError:
            ends.close("lifeline", "status", "terminal")
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        return TerminalProcess(
            child,
            ends,
            tag=f"{guardian.EXECUTION_TAG}={spec.execution_id}",
            shown=shown_as,
            patience_sec=self._grace_sec + LATE_SEC,
        )

    def _popen(self, spec: Spec, theirs: tuple[int, int, int]) -> subprocess.Popen[bytes]:
        numbers = map(str, (*theirs, spec.until, self._grace_sec))
        tags = {guardian.EXECUTION_TAG: str(spec.execution_id), HOME_TAG: str(self._data)}
        return subprocess.Popen(  # noqa: S603 - what to run is the whole point
            [sys.executable, "-I", "-S", "-c", _PROGRAM, str(_ROOT), *numbers, *spec.argv],
            stdin=subprocess.DEVNULL,
            cwd=spec.cwd,
            env={**spec.environment, **tags},
            pass_fds=theirs,
            start_new_session=True,
        )

    def _claim_data(self) -> None:
        if self._lock is not None:
            return
        self._data.mkdir(parents=True, exist_ok=True)
        lock = (self._data / "runner.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            msg = "another runner is using this data directory"
            raise OSError(error.errno, msg, str(self._data)) from error
        self._lock = lock


async def kill_tagged(tag: str) -> int:
    """Kill everything whose initial environment has ``NAME=value``, and its children.

    Returns how many processes that were, once none we may kill is left.
    """
    return await _kill_all(lambda: {p.pid for p in tree(tag)})


async def _kill_all(living: Callable[[], set[int]]) -> int:
    killed: set[int] = set()
    while hit := {pid for pid in living() if send(pid, signal.SIGKILL)}:
        killed |= hit
        await asyncio.sleep(_SWEEP_PAUSE_SEC)
    return len(killed)


def _open_terminal(rows: int, columns: int) -> tuple[int, int]:
    """Return both ends of a new terminal that passes output on byte for byte."""
    terminal, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    modes = termios.tcgetattr(slave)
    modes[1] &= ~termios.OPOST  # or every \n would be published as \r\n
    termios.tcsetattr(slave, termios.TCSANOW, modes)
    return terminal, slave


async def _read(descriptor: int) -> bytes:
    """Return what is there, at most `READ_BYTES`, waiting for something; empty at the end."""
    while (data := _read_now(descriptor)) is None:
        await _readable(descriptor)
    await asyncio.sleep(0)  # a program that never stops writing must not starve the others
    return data


def _read_now(descriptor: int) -> bytes | None:
    parts: list[bytes] = []
    size = 0
    while size < READ_BYTES:  # the kernel hands out at most 4 KiB of a terminal at a time
        try:
            part = os.read(descriptor, READ_BYTES - size)
        except BlockingIOError:
            return b"".join(parts) if parts else None
        except OSError:  # EIO: nobody holds the terminal's other end
            break
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts)


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
