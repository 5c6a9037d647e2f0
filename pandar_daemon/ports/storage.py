"""The folders tasks leave on disk, and the room there is. All of it blocks: call it in a thread.

What lies in the folders is an enemy's: nothing here follows a link or crosses a mount point.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final, Protocol

from msgspec import Struct

REMOVED: Final = "removed"
"""The folder, in the data directory, of an empty file for each task whose folders were removed."""
HELPER: Final = "-proxy"
"""What the name of a folder ends with that is for the agent who answers another's questions."""


class Space(Struct, frozen=True, kw_only=True):
    """What the file system of the data directory has, in bytes, for us who are no superuser."""

    free: int
    total: int


class Cleared(Struct, frozen=True, kw_only=True):
    """What came of clearing: entries removed, and ``left``, what could not be, with the reason.

    ``more``: there is more to do, and this call got on with it.
    """

    removed: int = 0
    left: tuple[str, ...] = ()
    more: bool = False


class Folders(Protocol):
    """The workspaces, homes and mirrors under a data directory."""

    def space(self) -> Space:
        """Return what room there is; raises ``OSError``."""
        ...

    def tasks(self) -> list[int]:
        """Return which tasks have folders here, in order."""
        ...

    def used(self, task_id: int) -> int:
        """Return the bytes a task's folders take on disk; what cannot be read counts nothing."""
        ...

    def discard(self, task_ids: Collection[int]) -> list[str]:
        """Move folders of tasks out of the way; return what could not be moved, and why."""
        ...

    def clear(self, *, unused_since: datetime, limit: int) -> Cleared:
        """Remove up to ``limit`` entries of what was discarded, and mirrors unused for so long."""
        ...
