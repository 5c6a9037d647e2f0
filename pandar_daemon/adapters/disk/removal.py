"""Removing a tree that an enemy made, and perhaps still changes.

Everything to be removed lies in one folder, the bin. A folder in it is emptied: its files are
unlinked, its folders moved up into the bin, so that no tree is too deep and no path too long. What
is moved, unlinked or opened is named relative to an open folder, and links are never followed: the
worst that somebody who changes the tree meanwhile achieves is that we remove something else of it.
A mount point can be neither moved nor unlinked, and is not entered: it stays, and is said.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from itertools import count, islice
from typing import Final

from pandar_daemon.adapters.disk.opening import folder, is_there, mount_of, unlock
from pandar_daemon.ports import Cleared

_AT_ONCE: Final = 1_000
"""Names read before they are worked on: a folder may hold a million."""
_PASSES: Final = 3
"""How often a folder is emptied that somebody fills again."""
_SAID_MAX: Final = 20


class Removal:
    """Empties one bin, ``limit`` entries at most."""

    def __init__(self, bin_: int, limit: int) -> None:
        """Work on the folder open as ``bin_``, which stays open and stays."""
        self._bin = bin_
        self._mount = mount_of(bin_)
        self._left: dict[str, str] = {}
        self._budget = limit
        self._limit = limit
        self._fresh = count()

    def run(self) -> Cleared:
        """Remove what can be removed; raises nothing for what is in there."""
        while self._budget > 0 and (names := self._names()):
            for name in names:
                if self._budget <= 0:
                    break
                self._remove(name)
        removed = self._limit - self._budget
        left = tuple(f"{name!a}: {why}" for name, why in islice(self._left.items(), _SAID_MAX))
        return Cleared(removed=removed, left=left, more=self._budget <= 0)

    def _names(self) -> list[str]:
        with os.scandir(self._bin) as entries:
            fresh = (entry.name for entry in entries if entry.name not in self._left)
            return list(islice(fresh, _AT_ONCE))

    def _remove(self, name: str) -> None:
        for _ in range(_PASSES):
            try:
                if not self._is_folder(name, self._bin):
                    self._unlink(name, self._bin)
                    return
                if not self._empty(name):
                    return
                os.rmdir(name, dir_fd=self._bin)
            except FileNotFoundError:
                return
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    self._left[name] = _why(error)
                    return
                continue
            self._budget -= 1
            return
        self._left.setdefault(name, "somebody fills it")

    def _empty(self, name: str) -> bool:
        """Empty a folder of the bin; false when the budget, or what must stay, ended that."""
        unlock(name, self._bin)
        with folder(name, self._bin) as opened:
            if mount_of(opened) != self._mount:
                self._left[name] = "another file system is mounted on it"
                return False
            stuck: set[str] = set()
            while names := _some(opened, stuck):
                for child in names:
                    if self._budget <= 0:
                        return False
                    self._take(child, opened, name, stuck)
        return not stuck

    def _take(self, child: str, parent: int, name: str, stuck: set[str]) -> None:
        try:
            if self._is_folder(child, parent):
                self._move_up(child, parent)
            else:
                self._unlink(child, parent)
        except FileNotFoundError:
            return
        except OSError as error:
            stuck.add(child)
            self._left[name] = f"{child!a}: {_why(error)}"

    def _unlink(self, name: str, parent: int) -> None:
        os.unlink(name, dir_fd=parent)
        self._budget -= 1

    def _move_up(self, child: str, parent: int) -> None:
        fresh = next(name for name in map(str, self._fresh) if not is_there(name, self._bin))
        with suppress(PermissionError):
            os.rename(child, fresh, src_dir_fd=parent, dst_dir_fd=self._bin)
            return
        unlock(child, parent)  # who moves a folder changes its `..`
        os.rename(child, fresh, src_dir_fd=parent, dst_dir_fd=self._bin)

    def _is_folder(self, name: str, parent: int) -> bool:
        mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        return stat.S_ISDIR(mode)


def _some(opened: int, stuck: set[str]) -> list[str]:
    with os.scandir(opened) as entries:
        fresh = (entry.name for entry in entries if entry.name not in stuck)
        return list(islice(fresh, _AT_ONCE))


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__
