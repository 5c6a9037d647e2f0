"""The runner's ends of what connects it with a guardian and its terminal, without a thread.

No buffer stands between a terminal and its reader: what nobody reads stays in the kernel, and the
program that writes waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import struct
import termios
from collections.abc import Callable, Sequence

from pandar_daemon.adapters.process import guardian

READ_BYTES = 65_536


class Failed(Exception):
    """The guardian says that it cannot be, or cannot start what it was asked to."""

    def __init__(self, errno: int, what: str) -> None:
        super().__init__(errno, what)
        self.errno, self.what = errno, what


Theirs = tuple[int, int]
"""The link and the terminal of a guardian to be: whoever gets them closes them."""


class Ends:
    """Three descriptors for each execution: link, terminal, and the guardian's process.

    Each is closed once, and is then unusable without an error.
    """

    def __init__(self, link: socket.socket, terminal: int, shown: str) -> None:
        link.settimeout(0)
        os.set_blocking(terminal, False)
        self._link = link
        self._open = {"link": link.fileno(), "terminal": terminal}
        self._watch = Watch()
        self.shown = shown
        """The terminal's name, as its processes know it."""
        self.pid = 0
        self._shown = asyncio.Event()  # something was, or nothing more can be
        self._is_over = False

    async def born(self) -> None:
        """Return once the guardian lives, and take hold of it.

        Raises `Failed` when it cannot be forked, ``EOFError`` when nobody is left to fork it.
        """
        await self._watch.readable(self._link.fileno())
        data, descriptors, *_ = socket.recv_fds(self._link, 64, 1)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)  # noqa: FBT003 - the library's own signature
            self._open["guardian"] = descriptor
        self.pid = int(_argument(data, guardian.BORN))

    async def send(self, data: bytes, pipes: Sequence[int] = ()) -> None:
        """Send all of it, and these with its beginning; in vain when the guardian is gone."""
        with contextlib.suppress(ConnectionError):
            if pipes:
                data = data[socket.send_fds(self._link, [data[:1]], pipes) :]
            await asyncio.get_running_loop().sock_sendall(self._link, data)

    @property
    def terminal(self) -> int | None:
        """Our end of the terminal, while it is open."""
        return self._open.get("terminal")

    async def started(self) -> bytes:
        """Return once the command runs, with what came after that; raises like `born`."""
        said = b""
        while b"\n" not in said and (more := await self.read_link()):
            said += more
        _argument(said, guardian.STARTED)
        return said.partition(b"\n")[2]

    async def read_link(self) -> bytes:
        """Return what the guardian says; empty once it is dead and all it said was read."""
        link, process = self._link.fileno(), self._open.get("guardian")
        dead = False
        while "link" in self._open:
            if (data := _read_now(link)) is not None:
                return data
            if dead:
                break
            watched = [link] if process is None else [link, process]
            dead = process in await self._watch.readable(*watched)
        return b""

    async def read_terminal(self) -> bytes:
        """Return what is shown, at most `READ_BYTES`; empty when no process of it can show more."""
        if "terminal" not in self._open:
            return b""
        terminal = self._open["terminal"]
        while (data := _read_now(terminal)) is None:
            if self._is_over:
                return b""
            self._shown.clear()
            await self._watch.readable(terminal, happened=self._shown)
        await asyncio.sleep(0)  # a program that never stops writing must not starve the others
        return data

    def finish_output(self) -> None:
        """Nothing of the tree is left: what was shown is the last, whoever holds the terminal.

        A terminal says that nothing is left to read only after all that was written has arrived.
        """
        self._is_over = True
        self._shown.set()

    def order(self, line: str) -> None:
        """Tell the guardian; in vain when it is gone, or does not listen."""
        if "link" in self._open:
            with contextlib.suppress(ConnectionError, BlockingIOError):
                self._link.send(line.encode())

    def signal(self, number: int) -> None:
        """Signal the guardian, never anybody else; in vain when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            if "guardian" in self._open:
                signal.pidfd_send_signal(self._open["guardian"], number)
            elif "link" in self._open and self.pid:
                os.kill(self.pid, number)

    def release(self) -> None:
        """Let the guardian know that nobody holds on to it; what it says can still be read."""
        if "link" in self._open:
            with contextlib.suppress(OSError):  # it is gone
                self._link.shutdown(socket.SHUT_WR)

    def close(self, *names: str) -> None:
        """Close these, or all; unless they are closed already."""
        for name in names or tuple(self._open):
            descriptor = self._open.pop(name, None)
            if descriptor is None:
                continue
            self._watch.forget(descriptor)
            if name == "link":
                self._link.close()
            else:
                os.close(descriptor)


def _argument(said: bytes, expected: str) -> str:
    word, _, rest = said.partition(b"\n")[0].decode().partition(" ")
    if word == guardian.FAILED:
        number, _, what = rest.partition(" ")
        raise Failed(int(number), what)
    if word != expected:
        raise EOFError(said)
    return rest


def open_ends(rows: int, columns: int) -> tuple[Ends, Theirs]:
    """Connect us with a guardian to be; raises ``OSError`` and leaves nothing open."""
    terminal, slave = os.openpty()
    try:
        _set_up(slave, rows, columns)
        link, theirs = socket.socketpair()
    except BaseException:
        os.close(terminal)
        os.close(slave)
        raise
    return Ends(link, terminal, os.ttyname(slave)), (theirs.detach(), slave)


def _set_up(terminal: int, rows: int, columns: int) -> None:
    """Give it a size, and let it pass output on byte for byte."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    modes = termios.tcgetattr(terminal)
    modes[1] &= ~termios.OPOST  # or every \n would be published as \r\n
    termios.tcsetattr(terminal, termios.TCSANOW, modes)


def _read_now(descriptor: int) -> bytes | None:
    parts: list[bytes] = []
    size = 0
    while size < READ_BYTES:  # the kernel hands out at most 4 KiB of a terminal at a time
        try:
            part = os.read(descriptor, READ_BYTES - size)
        except BlockingIOError:
            return b"".join(parts) if parts else None
        except OSError:  # EIO: nobody holds the terminal's other end; or the guardian was killed
            break
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts)


class Watch:
    """Waits for descriptors, one waiter each.

    What was waited for once stays watched, until it has something nobody waits for: who waits
    again, as most do, need not ask the kernel to watch it and to leave it alone each time.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, Callable[[int], None] | None] = {}

    async def readable(self, *descriptors: int, happened: asyncio.Event | None = None) -> set[int]:
        """Wait until one of these is readable, or this happens; return which are."""
        happened = happened or asyncio.Event()
        found = set[int]()

        def note(descriptor: int) -> None:
            found.add(descriptor)
            happened.set()

        for descriptor in descriptors:
            self._wait(descriptor, note)
        try:
            await happened.wait()
        finally:
            for descriptor in descriptors:
                if self._waiting.get(descriptor) is note:
                    self._waiting[descriptor] = None
        return found

    def forget(self, descriptor: int) -> None:
        """Watch it no more; call it before it is closed."""
        if descriptor in self._waiting:
            del self._waiting[descriptor]
            asyncio.get_running_loop().remove_reader(descriptor)

    def _wait(self, descriptor: int, note: Callable[[int], None]) -> None:
        if descriptor not in self._waiting:
            asyncio.get_running_loop().add_reader(descriptor, self._has_come, descriptor)
        self._waiting[descriptor] = note

    def _has_come(self, descriptor: int) -> None:
        if (note := self._waiting[descriptor]) is None:
            self.forget(descriptor)
        else:
            note(descriptor)


async def readable(descriptor: int) -> None:
    """Wait, once, until it is readable."""
    watch = Watch()
    try:
        await watch.readable(descriptor)
    finally:
        watch.forget(descriptor)
