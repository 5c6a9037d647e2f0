"""A process tree under a guardian, as its runner holds it."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager

import msgspec
import structlog

from pandar_daemon.adapters.process import guardian
from pandar_daemon.adapters.process.command import CWD
from pandar_daemon.adapters.process.ends import Ends, Failed
from pandar_daemon.adapters.process.request import close
from pandar_daemon.adapters.process.search import Search
from pandar_daemon.adapters.process.talk import Keyboard, Pipes
from pandar_daemon.adapters.process.tree import holders, send, tree
from pandar_daemon.adapters.process.waits import reads
from pandar_daemon.adapters.sandbox.enclosing import Broken, Enclosure
from pandar_daemon.adapters.sandbox.faults import explain
from pandar_daemon.ports import Exit, Spec

log = structlog.get_logger(__name__)

_SWEEP_PAUSE_SEC = 0.01
_SCARCE = {
    errno.EMFILE: "each execution takes three; see `ulimit -Hn`",
    errno.ENFILE: "see the sysctl fs.file-max",
    errno.ENOSPC: "no terminal is left; see the sysctl kernel.pty.max",
}


class TerminalProcess:
    """A process tree under a guardian.

    The tree has our own rights, so it may stop or kill its guardian: each order wakes that up, and
    one that does not obey is killed, and with it what has its tag or holds its terminal.
    """

    def __init__(self, ends: Ends, search: Search, *, tag: str, patience_sec: float) -> None:
        self._ends, self._search = ends, search
        self._pipes: Pipes | None = None
        self._doors: dict[str, socket.socket] = {}
        self._enclosure: Enclosure | None = None
        self._keyboard = Keyboard(lambda: ends.terminal, lambda: reads(ends.pid, ends.shown))
        self._tag = tag
        self._patience_sec = patience_sec
        self._ended: asyncio.Task[Exit] | None = None
        self._insisting: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The guardian's process id."""
        return self._ends.pid

    @property
    def doors(self) -> Mapping[str, socket.socket]:
        """The listening sockets made in its box, by name; whoever takes them closes them."""
        return self._doors

    @property
    def talk(self) -> Pipes | Keyboard:
        """The way to talk with it."""
        return self._pipes or self._keyboard

    async def begin(self, spec: Spec, request: bytes, enclosure: Enclosure | None = None) -> None:
        """Return once the command runs; raises ``OSError`` naming what cannot be used."""
        self._enclosure = enclosure
        theirs = self._lay_pipes(spec) if spec.piped else []
        try:
            await self._ends.send(request, [*theirs, *(enclosure.descriptors if enclosure else ())])
            said = await self._ends.started()
        except (EOFError, Failed) as error:
            self._close_pipes()
            self._ended = asyncio.create_task(self._end(b""))
            await self.wait()
            raise failure(error, spec, enclosure) from None
        finally:
            close(theirs)
            if enclosure is not None:
                close(enclosure.descriptors)
        self._ended = asyncio.create_task(self._end(said))
        if enclosure is not None:
            await self._settle(enclosure)

    async def _settle(self, enclosure: Enclosure) -> None:
        """Return once the command runs in its box; raises ``OSError``, and nothing is left."""
        try:
            self._doors = await enclosure.settle()
        except (Broken, OSError) as error:
            await self.allow_until(0.0)
            await self.kill()
            await self.wait()
            shown = b""
            async for data in self.output():
                shown += data
            if isinstance(error, Broken):
                raise OSError(errno.EIO, explain(str(error), shown), "the sandbox") from None
            raise

    def _lay_pipes(self, spec: Spec) -> list[int]:
        """Return the command's ends; raises ``OSError`` when no descriptor is left."""
        with scarce(spec):
            their_input, our_output = os.pipe()
            try:
                our_input, their_output = os.pipe()
            except OSError:
                close([their_input, our_output])
                raise
        self._pipes = Pipes(our_output, our_input)
        return [their_input, their_output]

    async def output(self) -> AsyncGenerator[bytes, None]:
        """Iterate over what the terminal shows, until nothing of the tree is left to show more."""
        try:
            while data := await self._ends.read_terminal():
                yield data
        finally:
            self._ends.close("terminal")

    async def allow_until(self, boottime: float) -> None:
        """Let it run until then; past it the whole tree is frozen, until allowed again."""
        self._order(f"{guardian.UNTIL} {boottime!r}\n")

    async def kill(self) -> None:
        """Kill the whole tree: at once when it is frozen, else after SIGTERM and the grace."""
        if self._ended is not None and self._ended.done():
            return
        self._order(f"{guardian.KILL}\n")
        if self._ended is not None:
            self._insisting = self._insisting or asyncio.create_task(self._insist(self._ended))

    def _order(self, line: str) -> None:
        self._ends.order(line)
        self._ends.signal(signal.SIGCONT)

    async def _insist(self, ended: asyncio.Task[Exit]) -> None:
        await asyncio.wait({ended}, timeout=self._patience_sec)
        if not ended.done():
            log.warning("guardian.killed", pid=self.pid)
            self._ends.signal(signal.SIGKILL)

    async def wait(self) -> Exit:
        """Return once nothing of the tree is left."""
        if self._ended is None:
            raise RuntimeError("the process was never begun")
        return await asyncio.shield(self._ended)

    def forsake(self) -> None:
        """Let go of it: the guardian then kills the tree."""
        self._close_pipes()
        self._ended = self._ended or asyncio.create_task(self._end(b""))
        self._ends.release()
        self._ends.close("terminal")
        self._insisting = self._insisting or asyncio.create_task(self._insist(self._ended))

    def _close_pipes(self) -> None:
        if self._pipes is not None:
            self._pipes.close()

    async def _end(self, said: bytes) -> Exit:
        try:
            return await self._ending(said)
        finally:
            for door in self._doors.values():
                door.close()
            if self._enclosure is not None:
                self._enclosure.leave()
            self._ends.finish_output()
            if self._pipes is not None:
                self._pipes.close_input()
                self._pipes.finish()

    async def _ending(self, said: bytes) -> Exit:
        while more := await self._ends.read_link():
            said += more
        self._ends.close("link", "guardian")
        word, _, result = said.decode().strip().partition(" ")
        if word == guardian.UNSEARCHED and await self._search.carriers(self._tag):
            await kill_tagged(self._tag)
        if word in {guardian.ENDED, guardian.UNSEARCHED}:
            return msgspec.json.decode(result, type=Exit)
        # The guardian was killed, and its command with it.
        await _kill_all(lambda: {p.pid for p in tree(self._tag)} | holders(self._ends.shown))
        return Exit(exit_code=None, signal=signal.SIGKILL)


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


@contextmanager
def scarce(spec: Spec) -> Iterator[None]:
    """Say what to do when the machine has no more of something."""
    try:
        yield
    except OSError as error:
        hint = _SCARCE.get(error.errno or 0)
        if hint is None:
            raise
        reason = f"{error.strerror}: {hint}"
        raise OSError(error.errno, reason, spec.argv[0]) from error


def failure(error: EOFError | Failed, spec: Spec, enclosure: Enclosure | None = None) -> OSError:
    """Return what to raise for what a guardian said, or did not live to say."""
    if isinstance(error, EOFError):
        return OSError(errno.ECHILD, "its guardian died", spec.argv[0])
    if enclosure is not None:
        return OSError(error.errno, os.strerror(error.errno), enclosure.argv[0])
    named = spec.cwd if error.what == CWD else spec.argv[0]
    return OSError(error.errno, os.strerror(error.errno), named)
