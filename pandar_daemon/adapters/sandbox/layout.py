"""What is where in a box, as arguments for bubblewrap.

The root is built from what is allowed, never from the machine's own root: a read-only view of that
would still let programs connect to every socket that lies in it. So there are the programs of the
system, a few files of ``/etc``, and what the box names; all else is not there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from pandar_daemon.ports import Box

USER: Final = 1000
"""Who a process in a box is, also where the runner is root."""
HOST_NAME: Final = "pandar"
TEMPORARY_MB: Final = 1_024
"""What fits into ``/tmp``, and what into ``/dev/shm``: they are memory."""
RUN: Final = "/run/pandar"

_ETC: Final = (
    *("nsswitch.conf", "host.conf", "gai.conf", "localtime", "timezone", "ssl", "ca-certificates"),
    *("ca-certificates.conf", "pki", "crypto-policies", "alternatives", "ld.so.cache"),
    *("ld.so.conf", "ld.so.conf.d", "mime.types", "magic", "os-release", "debian_version"),
    *("lsb-release", "protocols", "services", "inputrc", "terminfo", "perl", "fonts", "maven"),
    *("python3", "python3.11", "python3.12", "python3.13", "python3.14"),
    *("java-11-openjdk", "java-17-openjdk", "java-21-openjdk"),
)
"""Files of ``/etc`` that programs need and that tell nothing about the machine's people."""
_LINKS: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


class Own(Struct, frozen=True, kw_only=True):
    """What the sandbox brings along: where our own files are, outside.

    ``etc`` has the files that stand in for the machine's; ``readable`` is what `init` needs.
    """

    etc: str
    program: str
    readable: tuple[str, ...]


class Insecure(OSError):
    """A path of a box leads elsewhere than it says."""


def arguments(box: Box, own: Own, tags: Mapping[str, str]) -> list[str]:
    """Return what bubblewrap is told; raises `Insecure` for a path that is or holds a link.

    Nothing is kept of the environment but ``tags``, by which the tree is found from outside.
    """
    home = box.writable[-1] if box.writable else "/tmp"  # noqa: S108 - the box's own
    return [
        *_apart(),
        *("--clearenv", *(word for pair in tags.items() for word in ("--setenv", *pair))),
        *_system(),
        *_own(own, home),
        *_bound("--ro-bind-try", [*own.readable, *box.readable]),
        *_masked(own.readable),
        *_bound("--bind", box.writable),
        *_protected(box),
        *_overlaid(box.overlays),
        *("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"),
    ]


def _apart() -> list[str]:
    """Namespaces of its own, and no way to make others."""
    user = str(USER)
    return [
        *("--unshare-user", "--disable-userns", "--uid", user, "--gid", user),
        *("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"),
        *("--unshare-cgroup-try", "--hostname", HOST_NAME, "--as-pid-1"),
    ]


def system() -> list[str]:
    """Return where the programs of the system are, and the files of ``/etc`` they need."""
    links = [f"/{name}" for name in _LINKS]
    return ["/usr", *links, *(f"/etc/{name}" for name in _ETC)]


def _system() -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for name in _LINKS:
        path = f"/{name}"
        if os.path.islink(path):  # noqa: PTH114 - a string is wanted
            yield from ("--symlink", os.readlink(path), path)  # noqa: PTH115 - same
        else:
            yield from ("--ro-bind-try", path, path)
    for name in _ETC:
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    size = str(TEMPORARY_MB * 2**20)
    yield from ("--proc", "/proc", "--dev", "/dev")
    for path in ("/dev/shm", "/tmp", "/var/tmp"):  # noqa: S108 - the box's own
        yield from ("--size", size, "--tmpfs", path)
    yield from ("--dir", "/run")
    yield from ("--size", str(2**20), "--tmpfs", RUN)


def _own(own: Own, home: str) -> Iterator[str]:
    for name in sorted(os.listdir(own.etc)):  # noqa: PTH208 - names are wanted
        yield from ("--ro-bind", f"{own.etc}/{name}", f"/etc/{name}")
    yield from ("--symlink", home, "/home/agent")
    yield from ("--ro-bind", own.program, f"{RUN}/init")


def _bound(how: str, paths: Iterable[str]) -> Iterator[str]:
    """Bind each, but for what lies in another one: it is there already."""
    bound = ["/usr"]
    for path in sorted(set(paths), key=lambda path: (path.count("/"), path)):
        if not any(path == other or path.startswith(f"{other}/") for other in bound):
            bound.append(path)
            yield from (how, path, path)


def _masked(paths: Iterable[str]) -> Iterator[str]:
    """Hide what is installed beside the interpreter's own library."""
    for path in paths:
        inner = f"{path}/site-packages"
        if not path.startswith("/usr/") and Path(inner).is_dir():
            yield from ("--tmpfs", inner)


def _protected(box: Box) -> Iterator[str]:
    """Bind what may only be read, and a repository's folder onto itself.

    A mount point cannot be renamed, so nothing else can be put in its place.
    """
    there = [path for path in box.protected if os.path.lexists(path)]
    for path in there:
        _check(path, box.writable)
    pinned = dict.fromkeys(
        path.partition("/.git/")[0] + "/.git" for path in there if "/.git/" in path
    )
    for path in pinned:
        yield from ("--bind", path, path)
    for path in there:
        yield from ("--ro-bind", path, path)


def _check(path: str, writable: Iterable[str]) -> None:
    """Raise `Insecure` unless a path lies where it says, in one of the writable folders."""
    real = os.path.realpath(path)
    if real != path or not any(path.startswith(f"{folder}/") for folder in writable):
        raise Insecure(0, "leads elsewhere than it says", path)


def _overlaid(overlays: Mapping[str, str]) -> Iterator[str]:
    for inside, outside in overlays.items():
        yield from ("--ro-bind", outside, inside)
