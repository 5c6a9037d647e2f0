"""What is known of the folders tasks work in, kept where no agent can write.

``trees/task-<id>.json`` says how a folder was made, and ``trees/task-<id>`` is scratch room for our
own git, which only our own boxes show.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct


class Kept(Struct, frozen=True, kw_only=True):
    """How a clone was made; ``shared`` are the inodes it has together with the mirror.

    Until it is ``ready`` nothing in it counts. ``set_up`` once the project's setup went well.
    """

    url: str = ""
    branch: str = ""
    base_branch: str = ""
    base: str = ""
    shared: frozenset[int] = frozenset()
    ready: bool = False
    set_up: bool = False


class Records:
    """Those of one runner, under ``trees`` in its data directory."""

    def __init__(self, data: Path) -> None:
        self.folder = data / "trees"

    def known(self, task_id: int) -> Kept | None:
        """Return what is known of a task's folder; ``None`` when nothing was ever begun."""
        try:
            return msgspec.json.decode(self._file(task_id).read_bytes(), type=Kept)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError:  # written by hand, or by a release to come
            return Kept()

    def keep(self, task_id: int, kept: Kept) -> None:
        """Replace what is known; raises ``OSError``."""
        file = self._file(task_id)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = file.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(kept))
        fresh.replace(file)

    def _file(self, task_id: int) -> Path:
        return self.folder / f"task-{task_id}.json"
