"""Control groups: what all processes of a box may use together, where we may make any.

Root may on most machines; an ordinary user may where a service manager delegated a group. Of
the two versions of the interface, each controller is used where it is. Where none can be used
the limits of single processes hold alone (`enclosing`).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from events.confinement import Limits

ROOT: Final = Path("/sys/fs/cgroup")
PREFIX: Final = "pandar-"
_PERIOD_USEC: Final = 100_000
_CONTROLLERS: Final = ("pids", "memory", "cpu")


class Group:
    """One box's groups, one folder for each hierarchy; none where none can be made."""

    def __init__(self, folders: list[Path]) -> None:
        self._folders = folders

    def take(self, pid: int) -> None:
        """Put a process in, and with it all it starts; raises ``OSError``."""
        for folder in self._folders:
            (folder / "cgroup.procs").write_text(str(pid))

    def remove(self) -> None:
        """Remove them, as far as they are empty. Idempotent."""
        while self._folders:
            with contextlib.suppress(OSError):
                self._folders.pop().rmdir()


class Cgroups:
    """The groups of one runner, which no other names so: ``owner`` is its folder."""

    def __init__(
        self, owner: Path, root: Path = ROOT, own: Path = Path("/proc/self/cgroup")
    ) -> None:
        self._prefix = f"{PREFIX}{hashlib.sha256(bytes(owner)).hexdigest()[:12]}-"
        self._places = dict(_places(root, own))

    @property
    def controllers(self) -> Mapping[str, Path]:
        """Where each controller that can be used is, by name."""
        return self._places

    def make(self, name: str, limits: Limits) -> Group:
        """Return groups with these limits; raises ``OSError`` when one cannot be made."""
        folders: dict[Path, None] = {}
        group = Group([])
        for controller, place in self._places.items():
            if controller == "cpu" and limits.cpu is None:
                continue  # to move a process into a group costs some milliseconds
            folder = place / f"{self._prefix}{name}"
            if folder not in folders:
                folders[folder] = None
                folder.mkdir(exist_ok=True)
                group = Group(list(folders))
            try:
                _set(folder, controller, limits)
            except OSError:
                group.remove()
                raise
        return group

    def sweep(self) -> None:
        """Remove the empty groups that an earlier runner left."""
        for place in set(self._places.values()):
            for folder in place.glob(f"{self._prefix}*"):
                with contextlib.suppress(OSError):
                    folder.rmdir()


def _places(root: Path, own: Path) -> Iterator[tuple[str, Path]]:
    """Yield each controller that lets us make groups, and where."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, names, path = line.split(":", 2)
        places = [root / name / path.lstrip("/") for name in names.split(",") if name]
        if not names:
            places = [root / path.lstrip("/"), root / "unified" / path.lstrip("/")]
        for place in places:
            for controller in _CONTROLLERS:
                if _can_use(place, controller, names):
                    yield controller, place


def _can_use(place: Path, controller: str, names: str) -> bool:
    if not os.access(place, os.W_OK) or not (place / "cgroup.procs").exists():
        return False
    if names:
        return controller in names.split(",")
    try:
        if controller not in (place / "cgroup.controllers").read_text().split():
            return False
        (place / "cgroup.subtree_control").write_text(f"+{controller}")
    except OSError:
        return False
    return True


def _set(folder: Path, controller: str, limits: Limits) -> None:
    size = str(limits.memory_mb * 2**20)
    match controller:
        case "pids":
            _write(folder, str(limits.processes), "pids.max")
        case "memory":
            _write(folder, size, "memory.max", "memory.limit_in_bytes")
            with contextlib.suppress(OSError):  # without swap there is nothing to limit
                _write(folder, "0", "memory.swap.max", "memory.swappiness")
        case _:
            quota = str(int((limits.cpu or 1) * _PERIOD_USEC))
            if (folder / "cpu.max").exists():
                _write(folder, f"{quota} {_PERIOD_USEC}", "cpu.max")
            else:
                _write(folder, quota, "cpu.cfs_quota_us")


def _write(folder: Path, value: str, *names: str) -> None:
    """Write to the first of these that is there."""
    for name in names:
        if (folder / name).exists():
            (folder / name).write_text(value)
            return
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder / names[0]))
