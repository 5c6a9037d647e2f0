"""Where a task runs, and with which environment: nothing of ours is inherited."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from events.running import Assignment
from pandar_daemon.ports import Spec

_SHELLS = ("/bin/bash", "/bin/sh")


def prepare(data: Path, assignment: Assignment, *, until: float, path: str) -> Spec:
    """Make the folders of a task, unless an earlier attempt did, and return what to run in them.

    ``workspaces/task-<id>`` and ``homes/task-<id>`` stay for the attempts to come. Raises
    ``OSError`` naming the folder that could not be made.
    """
    workspace, home = _folders(data, assignment.task_id)
    return Spec(
        execution_id=assignment.execution_id,
        argv=(_shell(), "-c", assignment.command),
        cwd=str(workspace),
        environment=_environment(assignment, home, path),
        until=until,
    )


def _folders(data: Path, task_id: int) -> tuple[Path, Path]:
    workspace = data / "workspaces" / f"task-{task_id}"
    home = data / "homes" / f"task-{task_id}"
    for folder in (workspace, home, home / "tmp"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return workspace, home


def _environment(assignment: Assignment, home: Path, path: str) -> dict[str, str]:
    return {
        "PATH": path,
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "USER": _user(),
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "PANDAR_EXECUTION_ID": str(assignment.execution_id),
        "PANDAR_TASK_ID": str(assignment.task_id),
        "PANDAR_ATTEMPT": str(assignment.attempt),
    }


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without an account
        return str(os.getuid())


def _shell() -> str:
    return next((shell for shell in _SHELLS if Path(shell).exists()), _SHELLS[-1])
