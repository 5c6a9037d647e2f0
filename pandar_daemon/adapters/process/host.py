"""Process trees on this machine, each started and ended by a `guardian`."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import signal
import socket
import weakref
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec
import structlog

from pandar_daemon.adapters.process import guardian
from pandar_daemon.adapters.process.command import CWD
from pandar_daemon.adapters.process.ends import Ends, Failed, Theirs, open_ends
from pandar_daemon.adapters.process.nursery import Nursery, raise_descriptor_limit
from pandar_daemon.adapters.process.request import Request, close
from pandar_daemon.adapters.process.search import Search
from pandar_daemon.adapters.process.talk import Keyboard, Pipes
from pandar_daemon.adapters.process.tree import holders, send, tree
from pandar_daemon.adapters.process.waits import reads
from pandar_daemon.adapters.sandbox.boxes import Boxes
from pandar_daemon.adapters.sandbox.enclosing import Broken, Enclosure
from pandar_daemon.adapters.sandbox.faults import explain
from pandar_daemon.ports import Exit, Spec

log = structlog.get_logger(__name__)

HOME_TAG = "PANDAR_RUNNER_HOME"
"""In the environment of every process: the data directory of the runner it belongs to."""

LATE_SEC = 2.0
"""What a guardian may take, beyond the grace, to kill its tree; then it is killed itself."""
START_SEC = 30.0
BIRTH_SEC = 10.0
"""What a nursery may take to fork a guardian; then it is replaced."""
_SWEEP_PAUSE_SEC = 0.01
_SCARCE = {
    errno.EMFILE: "each execution takes three; see `ulimit -Hn`",
    errno.ENFILE: "see the sysctl fs.file-max",
    errno.ENOSPC: "no terminal is left; see the sysctl kernel.pty.max",
}


class Stillborn(Exception):
    """The nursery is dead, or does not answer; certainly nothing was started."""


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
            raise _failure(error, spec, enclosure) from None
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
        with _scarce(spec):
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


class Host:
    """Starts process trees for the one runner that owns a data directory.

    Each takes three descriptors of ours. The first start raises our limit of them as far as it may
    be; what is started keeps the limit we began with.
    """

    def __init__(self, data: Path, *, grace_sec: float = 3.0, boxes: Boxes | None = None) -> None:
        """Enclose what is to be boxed in one of ``boxes``; without them it is not started."""
        self._data = data.resolve()
        self._boxes = boxes
        self._grace_sec = grace_sec
        self._lock: IO[str] | None = None
        self._descriptor_limit: int | None = None
        self._search = Search()
        self._nursery: Nursery | None = None
        self._close_nursery: weakref.finalize[[], Host] | None = None

    async def start(self, spec: Spec) -> TerminalProcess:
        """Start it; raises ``OSError`` naming what could not be started."""
        tags = {guardian.EXECUTION_TAG: str(spec.execution_id), HOME_TAG: str(self._data)}
        enclosure = None if spec.box is None else self._enclose(spec, tags)
        try:
            return await self._start(spec, tags, enclosure)
        except BaseException:
            if enclosure is not None:
                enclosure.leave()
            raise

    def _enclose(self, spec: Spec, tags: Mapping[str, str]) -> Enclosure:
        if self._boxes is None:
            raise OSError(errno.ENOTSUP, "there is no sandbox on this machine", spec.argv[0])
        return self._boxes.enclose(spec, tags)

    async def _start(
        self, spec: Spec, tags: Mapping[str, str], enclosure: Enclosure | None
    ) -> TerminalProcess:
        request = self._request(spec, tags, enclosure).pack()
        async with asyncio.timeout(START_SEC):  # a command may stop its guardian at once
            process = await self._born(spec)
            try:
                await process.begin(spec, request, enclosure)
            except BaseException:
                process.forsake()
                raise
        return process

    async def sweep(self) -> int:
        """Kill what an earlier, killed incarnation of this runner left; return how many.

        Raises ``OSError`` when another runner is using the same data directory.
        """
        self._claim_data()
        self._retire(self._nursery)
        killed = await kill_tagged(f"{HOME_TAG}={self._data}")
        if self._boxes is not None:
            self._boxes.sweep()
        return killed

    def _request(self, spec: Spec, tags: Mapping[str, str], enclosure: Enclosure | None) -> Request:
        """Return what the guardian is to start: of a box no more than what makes it."""
        argv, cwd, environment = spec.argv, spec.cwd, {**spec.environment, **tags}
        direct = spec.direct
        if enclosure is not None:
            argv, cwd, environment, direct = enclosure.argv, "/", {**tags}, ()
        return Request(
            [os.fsencode(argument) for argument in argv],
            {os.fsencode(name): os.fsencode(value) for name, value in environment.items()},
            cwd=os.fsencode(cwd),
            until=spec.until,
            grace_sec=self._grace_sec,
            is_piped=spec.piped,
            is_boxed=enclosure is not None,
            direct=[os.fsencode(argument) for argument in direct],
        )

    async def _born(self, spec: Spec) -> TerminalProcess:
        """Return a new guardian, that knows of nothing to start yet."""
        try:
            try:
                return await self._bear(spec)
            except Stillborn:
                return await self._bear(spec)
        except Stillborn as error:
            raise ChildProcessError(errno.ECHILD, "no guardian was born", spec.argv[0]) from error
        except Failed as error:
            raise _failure(error, spec) from None

    async def _bear(self, spec: Spec) -> TerminalProcess:
        nursery = self._nursery or self._open_nursery()
        ends, theirs = _open_ends(spec)
        try:
            async with asyncio.timeout(BIRTH_SEC):
                await nursery.bear(theirs)
                await ends.born()
        except (ConnectionError, EOFError, TimeoutError) as error:
            ends.close()
            self._retire(nursery)
            raise Stillborn from error
        except BaseException:
            ends.close()
            raise
        tag = f"{guardian.EXECUTION_TAG}={spec.execution_id}"
        return TerminalProcess(ends, self._search, tag=tag, patience_sec=self._grace_sec + LATE_SEC)

    def _open_nursery(self) -> Nursery:
        if self._descriptor_limit is None:
            self._descriptor_limit = raise_descriptor_limit()
        nursery = Nursery({HOME_TAG: str(self._data)}, self._descriptor_limit)
        self._nursery = nursery
        self._close_nursery = weakref.finalize(self, nursery.close)
        return nursery

    def _retire(self, nursery: Nursery | None) -> None:
        """Replace this one at the next start, unless that was done already."""
        if nursery is not None and nursery is self._nursery and self._close_nursery is not None:
            self._nursery = None
            self._close_nursery()

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


def _open_ends(spec: Spec) -> tuple[Ends, Theirs]:
    with _scarce(spec):
        return open_ends(spec.rows, spec.columns)


@contextmanager
def _scarce(spec: Spec) -> Iterator[None]:
    """Say what to do when the machine has no more of something."""
    try:
        yield
    except OSError as error:
        hint = _SCARCE.get(error.errno or 0)
        if hint is None:
            raise
        reason = f"{error.strerror}: {hint}"
        raise OSError(error.errno, reason, spec.argv[0]) from error


def _failure(error: EOFError | Failed, spec: Spec, enclosure: Enclosure | None = None) -> OSError:
    if isinstance(error, EOFError):
        return OSError(errno.ECHILD, "its guardian died", spec.argv[0])
    if enclosure is not None:
        return OSError(error.errno, os.strerror(error.errno), enclosure.argv[0])
    named = spec.cwd if error.what == CWD else spec.argv[0]
    return OSError(error.errno, os.strerror(error.errno), named)
