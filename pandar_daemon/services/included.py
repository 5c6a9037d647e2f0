"""Untracked files of a local repository that go into a clone: those ``.worktreeinclude`` lists.

They are copied before anybody else was in the clone. Nothing outside the repository is read, no
link is followed; blocks, and is for a thread.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

FILE: Final = ".worktreeinclude"
FILES_MAX: Final = 200_000
_MIB: Final = 2**20


def copy_included(source: Path, target: Path, names: Sequence[bytes], *, limit_mb: int) -> int:
    """Copy these files, named relative to ``source``; return how many were.

    Raises ``OSError`` when they are more than may be.
    """
    root, left = os.path.realpath(source), limit_mb * _MIB
    inside: dict[str, bool] = {}
    copied = 0
    for name in names:
        relative = os.fsdecode(name)
        place = Path(root, relative)
        folder = str(place.parent)
        if folder not in inside:
            real = os.path.realpath(folder)
            inside[folder] = real == folder and os.path.commonpath((real, root)) == root
        if not inside[folder]:
            continue
        left -= _copy(place, target / relative)
        copied += 1
        if left < 0 or copied > FILES_MAX:
            raise OSError(f"{FILE} lists more than {limit_mb} MB or {FILES_MAX} files in {source}")
    return copied


def _copy(source: Path, target: Path) -> int:
    """Copy one file, or a link that stays beside it; return its size."""
    status = source.lstat()
    target.parent.mkdir(parents=True, exist_ok=True)
    if stat.S_ISLNK(status.st_mode):
        to = source.readlink()
        if not to.is_absolute() and ".git" not in to.parts:
            target.unlink(missing_ok=True)
            target.symlink_to(to)
        return 0
    if not stat.S_ISREG(status.st_mode):
        return 0
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as read, target.open("wb") as write:
        shutil.copyfileobj(read, write)
    target.chmod(0o600 | (status.st_mode & 0o111))
    return status.st_size
