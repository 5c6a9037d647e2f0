"""The folders tasks work in: a clone of the project's repository, or an empty one."""

from __future__ import annotations

from pathlib import Path

import msgspec

from events.running import Assignment
from pandar_daemon.ports import Clock, Folders
from pandar_daemon.services.enclosing import Enclose
from pandar_daemon.services.git import Git
from pandar_daemon.services.git_access import Admission
from pandar_daemon.services.making import Making, Places, Tree
from pandar_daemon.services.mirrors import Mirrors
from pandar_daemon.services.tree_records import Records


class Trees:
    """The folders of the tasks of one runner; ``git`` is what they are made with."""

    def __init__(self, data: Path, git: Git, folders: Folders, clock: Clock) -> None:
        self.git = git
        self._records = Records(data)
        self._places = Places(
            workspaces=data / "workspaces",
            records=self._records,
            git=git,
            mirrors=Mirrors(data, git, clock),
            folders=folders,
        )

    async def ready(
        self,
        assignment: Assignment,
        enclose: Enclose,
        *,
        since: float,
        admission: Admission | None = None,
    ) -> Tree:
        """Make a task's folder, or go on with it; the repository is as it was after ``since``.

        A folder that was not finished is made again from nothing; a finished one keeps its history.
        Raises `Unprepared`, or another ``OSError``; then nothing half made is taken for whole.
        """
        making = Making(self._places, assignment, enclose, since=since, admission=admission)
        kept = self._records.known(assignment.task_id)
        is_empty = not any(making.workspace.iterdir())
        if kept is not None and kept.ready and not is_empty:
            return await making.go_on(kept)
        if assignment.repository is None or (kept is None and not is_empty):
            return making.plain()  # the second: of an older release, or of a project without one
        return await making.clone(assignment.repository)

    def objects(self, url: str) -> str:
        """Return the folder of what is at hand of a repository; empty when nothing is."""
        return self._places.mirrors.objects(url)

    def was_set_up(self, task_id: int) -> None:
        """Note that the project's ``setup`` went well, so that it is not run again."""
        kept = self._records.known(task_id)
        if kept is not None:
            self._records.keep(task_id, msgspec.structs.replace(kept, set_up=True))
