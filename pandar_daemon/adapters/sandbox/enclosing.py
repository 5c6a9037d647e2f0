"""Puts what is to run into a box by bubblewrap, and takes over the doors made inside."""

from __future__ import annotations

import array
import asyncio
import os
import py_compile
import resource
import socket
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from events.confinement import Limits
from pandar_daemon.adapters.process.ends import readable
from pandar_daemon.adapters.process.request import EXTRAS_FROM
from pandar_daemon.adapters.sandbox import init, programs, seccomp
from pandar_daemon.adapters.sandbox.cgroups import Cgroups, Group
from pandar_daemon.adapters.sandbox.layout import Own, arguments
from pandar_daemon.ports.processes import Spec
from pandar_daemon.ports.sandbox import CONTROL, CONTROL_PATH, PROXY, PROXY_PORT

READY_SEC: Final = 20.0
"""What a box may take until it is made."""
_DOORS: Final = {PROXY: f"{init.TCP}{PROXY_PORT}", CONTROL: f"{init.UNIX}{CONTROL_PATH}"}
_ETC: Final = {
    "passwd": (
        "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n"
        "agent:x:1000:1000:agent:/home/agent:/bin/bash\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    ),
    "group": "root:x:0:\nagent:x:1000:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost pandar\n::1 localhost\n",
    "hostname": "pandar\n",
    "resolv.conf": "# names are resolved by the proxy\n",
}


class Broken(Exception):
    """The box could not be made."""


class Sandbox:
    """Boxes by bubblewrap; ``folder`` holds what they share, and is made when it is needed."""

    def __init__(self, folder: Path, bwrap: str, cgroups: Cgroups) -> None:
        self._folder = folder
        self._bwrap = bwrap
        self._filter: bytes | None = None
        self._own: Own | None = None
        self.cgroups = cgroups

    def enclose(self, spec: Spec, tags: Mapping[str, str]) -> Enclosure:
        """Return how to start a specification that has a box; raises ``OSError``."""
        assert spec.box is not None  # noqa: S101 - or there is nothing to enclose
        own = self._own = self._own or _lay_out(self._folder)
        self._filter = self._filter or seccomp.filter_for()
        told = arguments(spec.box, own, tags)
        names = [name for name in spec.box.doors if name in _DOORS]
        words = b"".join(os.fsencode(word) + b"\0" for word in told)
        setup_at, words_at, filter_at, lifeline_at = map(str, range(EXTRAS_FROM, EXTRAS_FROM + 4))
        argv = (
            *(self._bwrap, "--args", words_at, "--seccomp", filter_at, "--"),
            *(programs.python(), "-I", "-S", "/run/pandar/init", setup_at, lifeline_at),
            *(_DOORS[name] for name in names),
        )
        group = self.cgroups.make(str(spec.execution_id), spec.box.limits)
        tagged = replace(spec, environment={**spec.environment, **tags})
        return Enclosure(tagged, Made(argv=argv, files=(words, self._filter), doors=names), group)


class Made(Struct, frozen=True, kw_only=True):
    """How a box is made: by ``argv``, which reads ``files``, and then has these ``doors``.

    It finds them from `EXTRAS_FROM` on: our end to talk by, the files, and the lifeline.
    """

    argv: tuple[str, ...]
    files: tuple[bytes, ...]
    doors: Sequence[str] = ()


class Enclosure:
    """One box on its way: `argv` with descriptors, then `settle`, in the end `leave`."""

    def __init__(self, spec: Spec, made: Made, group: Group) -> None:
        assert spec.box is not None  # noqa: S101 - as above
        self._spec, self._group = spec, group
        self._limits, self._names = spec.box.limits, made.doors
        ours, setup = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        ours.setblocking(False)  # noqa: FBT003 - the library's own signature
        self._setup = ours
        self._is_settling = False
        self.descriptors = [setup.detach(), *map(_in_memory, made.files)]
        """What goes along, in this order from `EXTRAS_FROM` on; the guardian adds the lifeline."""
        self.argv = made.argv

    async def settle(self) -> dict[str, socket.socket]:
        """Let the command start, and return the doors; raises `Broken`, or ``OSError``."""
        self._is_settling = True  # what left meanwhile is to be heard, not closed on us
        try:
            async with asyncio.timeout(READY_SEC):
                doors = await self._meet()
                try:
                    await self._tell()
                except BaseException:
                    for door in doors.values():
                        door.close()
                    raise
                return doors
        except TimeoutError:
            raise Broken(f"the box was not ready within {READY_SEC:g} s") from None
        finally:
            self._is_settling = False
            self._setup.close()

    async def _meet(self) -> dict[str, socket.socket]:
        """Take the doors, and put the box under its limits before anything runs in it."""
        space = socket.CMSG_SPACE(4 * len(_DOORS)) + socket.CMSG_SPACE(struct.calcsize("3i"))
        await readable(self._setup.fileno())
        data, ancillary, *_ = self._setup.recvmsg(64, space)
        numbers, pid = _unpacked(ancillary)
        doors = [socket.socket(fileno=number) for number in numbers]
        for door in doors:
            door.setblocking(False)  # noqa: FBT003 - same
        if not data:
            raise Broken("the box ended while it was made")
        self._group.take(pid)
        return dict(zip(self._names, doors, strict=True))

    async def _tell(self) -> None:
        loop, spec = asyncio.get_running_loop(), self._spec
        environment = [f"{name}={value}" for name, value in spec.environment.items()]
        texts = [spec.cwd, _limits(self._limits), str(len(spec.argv)), *spec.argv, *environment]
        body = b"\0".join(os.fsencode(text) for text in texts)
        await loop.sock_sendall(self._setup, len(body).to_bytes(init.TEXTS_BYTES, "big") + body)
        said = b""
        while b"\n" not in said and (more := await loop.sock_recv(self._setup, 4096)):
            said += more
        if said.startswith(b"failed "):
            number, _, what = said.removeprefix(b"failed ").decode().strip().partition(" ")
            named = {"cwd": spec.cwd, "command": spec.argv[0]}.get(what, what)
            raise OSError(int(number), os.strerror(int(number)), named)
        if said != b"started\n":
            raise Broken("the box ended before its command began")

    def leave(self) -> None:
        """Nothing of it is left, or it never began: remove what was made for it. Idempotent."""
        if not self._is_settling:
            self._setup.close()
        while self.descriptors:
            os.close(self.descriptors.pop())
        self._group.remove()


def _lay_out(folder: Path) -> Own:
    etc = folder / "etc"
    etc.mkdir(mode=0o755, parents=True, exist_ok=True)
    folder.chmod(0o755)
    for name, text in _ETC.items():
        (etc / name).write_text(text)
        (etc / name).chmod(0o444)
    program = folder / "init.pyc"
    py_compile.compile(str(init.__file__), cfile=str(program), doraise=True)
    return Own(etc=str(etc), program=str(program), readable=programs.library())


def _in_memory(data: bytes) -> int:
    number = os.memfd_create("pandar", os.MFD_CLOEXEC)
    os.write(number, data)
    os.lseek(number, 0, os.SEEK_SET)
    return number


def _unpacked(ancillary: list[tuple[int, int, bytes]]) -> tuple[list[int], int]:
    numbers, pid = array.array("i"), 0
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
        elif (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            pid = struct.unpack("3i", data)[0]
    return list(numbers), pid


def _limits(limits: Limits) -> str:
    """Return what one process may use, where control groups do not count all of them together."""
    size = limits.memory_mb * 2**20
    pairs = {
        resource.RLIMIT_DATA: size,
        resource.RLIMIT_NPROC: limits.processes,
        resource.RLIMIT_NOFILE: limits.files,
        resource.RLIMIT_FSIZE: limits.disk_mb * 2**20,
        resource.RLIMIT_CORE: 0,
    }
    return " ".join(f"{number}:{value}" for number, value in pairs.items())
