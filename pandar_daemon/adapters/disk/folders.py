"""The folders of tasks under a data directory: found, measured, moved away, removed."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Final

from pandar_daemon.adapters.disk.measure import Measure
from pandar_daemon.adapters.disk.opening import folder, is_there, names_in
from pandar_daemon.adapters.disk.removal import Removal
from pandar_daemon.ports import HELPER, REMOVED, Cleared, Space

_OF_TASKS: Final = ("trees", "workspaces", "homes")
"""What is known of a workspace goes before it: without that it would be gone on with, empty."""
_MIRRORS: Final = "mirrors"
_BIN: Final = ".removing"
"""In each folder of folders: moving into it never leaves the file system."""
_TASK: Final = re.compile(r"task-([1-9][0-9]{0,17})(?![0-9])")


class DataFolders:
    """`pandar_daemon.ports.Folders` of a data directory; one runner at a time uses it."""

    def __init__(self, data: Path) -> None:
        """Make nothing yet."""
        self._data = data

    def space(self) -> Space:
        """Return what room there is; raises ``OSError``."""
        found = os.statvfs(self._data)
        unit = found.f_frsize
        return Space(free=found.f_bavail * unit, total=found.f_blocks * unit)

    def tasks(self) -> list[int]:
        """Return which tasks have folders here, in order."""
        found = set[int]()
        for parent, _ in self._kinds():
            names = map(_TASK.match, names_in(parent))
            found.update(int(match[1]) for match in names if match)
        return sorted(found)

    def used(self, task_id: int) -> int:
        """Return the bytes a task's folders take on disk."""
        measure = Measure()
        for parent, _ in self._kinds():
            for suffix in ("", HELPER):  # to look for others would take a look at all tasks
                measure.add(f"task-{task_id}{suffix}", parent)
        return measure.bytes

    def discard(self, task_ids: Collection[int]) -> list[str]:
        """Move folders of tasks out of the way; return what could not be moved, and why."""
        left = []
        for parent, kind in self._kinds():
            for name in _of(task_ids, names_in(parent)):
                try:
                    _discard(name, parent)
                except OSError as error:
                    left.append(f"{kind}/{name!a}: {error.strerror}")
        for task_id in task_ids:
            self._remember(task_id)
        return left

    def _remember(self, task_id: int) -> None:
        """Leave word for an attempt to come, that what was there is gone."""
        with suppress(OSError):
            (self._data / REMOVED).mkdir(mode=0o700, exist_ok=True)
            (self._data / REMOVED / str(task_id)).touch(mode=0o600)

    def clear(self, *, unused_since: datetime, limit: int) -> Cleared:
        """Remove what was discarded, and mirrors unused since then, ``limit`` entries at most."""
        self._discard_mirrors(unused_since.timestamp())
        removed, left = 0, list[str]()
        for kind in (*_OF_TASKS, _MIRRORS):
            with suppress(FileNotFoundError), self._bin(kind) as bin_:
                cleared = Removal(bin_, limit - removed).run()
                removed += cleared.removed
                left += [f"{kind}/{_BIN}/{each}" for each in cleared.left]
        return Cleared(removed=removed, left=tuple(left), more=removed >= limit)

    def _discard_mirrors(self, before: float) -> None:
        with suppress(FileNotFoundError), folder(self._data / _MIRRORS) as parent:
            for name in names_in(parent):
                found = os.stat(name, dir_fd=parent, follow_symlinks=False)
                if name.endswith(".git") and found.st_mtime < before:
                    with suppress(OSError), _locked(f"{name.removesuffix('.git')}.lock", parent):
                        _discard(name, parent)

    def _kinds(self) -> Iterator[tuple[int, str]]:
        """Yield each folder of folders there is: open, and by name."""
        for kind in _OF_TASKS:
            with suppress(FileNotFoundError), folder(self._data / kind) as parent:
                yield parent, kind

    @contextmanager
    def _bin(self, kind: str) -> Iterator[int]:
        with folder(self._data / kind) as parent, folder(_BIN, parent) as bin_:
            yield bin_


@contextmanager
def _locked(name: str, parent: int) -> Iterator[None]:
    """Hold a mirror's lock; raises ``OSError`` when somebody else does."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=parent)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _of(task_ids: Collection[int], names: list[str]) -> list[str]:
    found = ((name, _TASK.match(name)) for name in names)
    return [name for name, match in found if match and int(match[1]) in task_ids]


def _discard(name: str, parent: int) -> None:
    """Move something into the bin beside it, under a name nothing has there."""
    with suppress(FileExistsError):
        os.mkdir(_BIN, 0o700, dir_fd=parent)
    with folder(_BIN, parent) as bin_:
        named = (f"{name}.{number}" for number in count())
        fresh = next(each for each in named if not is_there(each, bin_))
        os.rename(name, fresh, src_dir_fd=parent, dst_dir_fd=bin_)
