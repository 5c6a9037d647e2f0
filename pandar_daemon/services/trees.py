"""The folders tasks work in: a clone of the project's repository, or an empty one."""

from __future__ import annotations

from pathlib import Path

import msgspec

from events.running import Assignment
from pandar_daemon.ports import Clock
from pandar_daemon.services.clearing import clear
from pandar_daemon.services.enclosing import Enclose
from pandar_daemon.services.git import Git
from pandar_daemon.services.making import Making, Places, Tree
from pandar_daemon.services.mirrors import Credential, Mirrors
from pandar_daemon.services.tree_records import Records


class Trees:
    """The folders of the tasks of one runner; ``git`` is what they are made with."""

    def __init__(self, data: Path, git: Git, clock: Clock) -> None:
        self.git = git
        self._workspaces, self._homes = data / "workspaces", data / "homes"
        self._records = Records(data)
        self._mirrors = Mirrors(data, git, clock)

    async def ready(
        self,
        assignment: Assignment,
        enclose: Enclose,
        *,
        since: float,
        credential: Credential | None = None,
    ) -> Tree:
        """Make a task's folder, or go on with it; the repository is as it was after ``since``.

        A folder that was not finished is made again from nothing; a finished one keeps its history.
        Raises `Unprepared`, or another ``OSError``; then nothing half made is taken for whole.
        """
        places = Places(
            workspaces=self._workspaces,
            records=self._records,
            git=self.git,
            mirrors=self._mirrors,
        )
        making = Making(places, assignment, enclose, since=since, credential=credential)
        kept = self._records.known(assignment.task_id)
        if kept is not None and kept.ready:
            return await making.go_on(kept)
        if assignment.repository is None or (kept is None and any(making.workspace.iterdir())):
            return making.plain()  # the second: of an older release, or of a project without one
        return await making.clone(assignment.repository)

    def was_set_up(self, task_id: int) -> None:
        """Note that the project's ``setup`` went well, so that it is not run again."""
        kept = self._records.known(task_id)
        if kept is not None:
            self._records.keep(task_id, msgspec.structs.replace(kept, set_up=True))

    def remove(self, task_id: int) -> None:
        """Remove all that is on disk of a task, and nothing else; for a thread.

        Whatever its agent made of its folders, nothing outside of them is touched. The task must
        not run. Raises ``OSError`` when something cannot be removed.
        """
        name = f"task-{task_id:d}"
        clear(self._records.folder, f"{name}.json")
        clear(self._records.folder, name)
        clear(self._workspaces, name)
        for home in [path.name for path in self._homes.glob(f"{name}*")]:
            if home == name or home.startswith(f"{name}-"):
                clear(self._homes, home)

    def remove_mirrors(self, days: float, now: float) -> list[str]:
        """Remove mirrors nothing was made from for so many days; return their names.

        ``now`` is in Unix seconds; clones keep what they share with them. For a thread.
        """
        gone = self._mirrors.unused(days, now)
        for path in gone:
            clear(path.parent, path.name)
        return [path.name for path in gone]
