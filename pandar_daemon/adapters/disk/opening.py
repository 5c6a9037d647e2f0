"""Opening what others made, without being led astray: no link is followed, no mount crossed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OURS: Final = 0o700


@contextmanager
def folder(name: str | Path, parent: int | None = None) -> Iterator[int]:
    """Yield a folder's descriptor; raises ``OSError`` for whatever is none, links included."""
    descriptor = os.open(name, _FOLDER, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def mount_of(descriptor: int) -> str:
    """Return on which mount a file is; a bind mount of the same file system is another one."""
    device = os.fstat(descriptor).st_dev
    try:
        told = Path(f"/proc/self/fdinfo/{descriptor}").read_text("ascii")
    except OSError:  # no Linux
        return str(device)
    return next((f"{device} {line}" for line in told.splitlines() if line.startswith("mnt_id")), "")


def unlock(name: str, parent: int) -> None:
    """Let us read and change a folder of ours, whatever its mode; raises ``OSError``."""
    by_path = getattr(os, "O_PATH", None)
    if by_path is None:
        os.chmod(name, _OURS, dir_fd=parent, follow_symlinks=False)
        return
    flags = by_path | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, dir_fd=parent)
    try:
        Path(f"/proc/self/fd/{descriptor}").chmod(_OURS)
    finally:
        os.close(descriptor)


def names_in(descriptor: int) -> list[str]:
    """Return what is in an open folder, in order."""
    with os.scandir(descriptor) as entries:
        return sorted(entry.name for entry in entries)


def is_there(name: str, parent: int) -> bool:
    """Return whether a folder has something of that name, be it a dangling link."""
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
