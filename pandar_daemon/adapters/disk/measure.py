"""What a tree takes on disk, in blocks, as ``du`` counts: a file with two names counts once.

One folder is open at a time, however deep the tree: the way back up is ``..``, and it is checked
that it leads to where we came from, for who runs in the tree can move it meanwhile.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import Final

from pandar_daemon.adapters.disk.opening import folder, mount_of

_BLOCK: Final = 512
"""Of ``st_blocks``, whatever the file system's own are."""
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Identity = tuple[int, int]


class Measure:
    """Adds up trees; a file linked into several of them counts in the first."""

    def __init__(self) -> None:
        self.bytes = 0
        self._seen: set[Identity] = set()

    def add(self, name: str, parent: int) -> None:
        """Add a tree; what is no folder, cannot be read or vanishes counts nothing."""
        with suppress(OSError), folder(name, parent) as root:
            self._walk(os.dup(root), mount_of(root))

    def _walk(self, here: int, mount: str) -> None:
        above: list[tuple[Identity, list[str]]] = []
        try:
            inside = self._count(here)
            while inside or above:
                if inside:
                    below = _below(inside.pop(), here, mount)
                    if below is not None:
                        above.append((_identity(here), inside))
                        here = _instead(below, of=here)
                        inside = self._count(here)
                    continue
                came_from, inside = above.pop()
                here = _instead(os.open("..", _FOLDER, dir_fd=here), of=here)
                if _identity(here) != came_from:
                    return  # moved under our feet: the next measure will tell
        finally:
            os.close(here)

    def _count(self, here: int) -> list[str]:
        """Add what is directly in a folder, and return the folders in it."""
        folders = []
        with suppress(OSError), os.scandir(here) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    self._add(found)
                    if stat.S_ISDIR(found.st_mode):
                        folders.append(entry.name)
        return folders

    def _add(self, found: os.stat_result) -> None:
        if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
            identity = (found.st_dev, found.st_ino)
            if identity in self._seen:
                return
            self._seen.add(identity)
        self.bytes += found.st_blocks * _BLOCK


def _below(name: str, here: int, mount: str) -> int | None:
    try:
        below = os.open(name, _FOLDER, dir_fd=here)
    except OSError:
        return None
    if mount_of(below) == mount:
        return below
    os.close(below)
    return None


def _instead(descriptor: int, *, of: int) -> int:
    os.close(of)
    return descriptor


def _identity(descriptor: int) -> Identity:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino
