"""Repositories on this machine, and executions of tasks on them."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from events.running import Assignment, Repository
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.disk.folders import DataFolders
from pandar_daemon.ports import ProcessHost
from pandar_daemon.services.enclosing import Reach
from pandar_daemon.services.git import Git
from pandar_daemon.services.making import Tree
from pandar_daemon.services.trees import Trees

CLOCK = SystemClock()
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "ann",
    "GIT_AUTHOR_EMAIL": "ann@localhost",
    "GIT_COMMITTER_NAME": "ann",
    "GIT_COMMITTER_EMAIL": "ann@localhost",
}


def git(folder: Path | str, *words: str, given: bytes = b"", **environment: str) -> str:
    """Return what git says in a folder; fails when git does."""
    told = subprocess.run(
        ["git", *words],
        cwd=folder,
        env={**ENVIRONMENT, **environment},
        check=True,
        capture_output=True,
        input=given,
    )
    return told.stdout.decode(errors="surrogateescape").strip()


def commit(folder: Path | str, files: Mapping[str, str], message: str = "more") -> str:
    """Write files, commit all there is, and return the commit."""
    for name, text in files.items():
        (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
        (Path(folder) / name).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def make_origin(folder: Path) -> Path:
    """Make a repository people work in, with one commit on main."""
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commit(folder, {"README": "hello\n", "src/a.py": "print(1)\n"})
    return folder


def make_trees(data: Path, host: ProcessHost) -> Trees:
    """Return the folders of a runner's tasks."""
    tool = Git(host, CLOCK, home=data / "mirrors", path=ENVIRONMENT["PATH"])
    return Trees(data, tool, DataFolders(data), CLOCK)


def given(url: Path | str, task: int = 1, **fields: object) -> Assignment:
    """Return an execution of a task on a repository."""
    repository = {k: str(fields.pop(k)) for k in ("base_branch", "setup") if k in fields}
    whole = {
        "task_id": task,
        "project_id": 1,
        "execution_id": uuid4(),
        "epoch": 1,
        "attempt": 1,
        "command": "true",
        "name": "Fix the tests!",
        "metadata": {},
        "repository": Repository(url=str(url), **repository),
        **fields,
    }
    return Assignment(**whole)  # type: ignore[arg-type]


def unconfined(_reach: Reach) -> None:
    """Enclose nothing."""


async def ready(trees: Trees, assignment: Assignment) -> Tree:
    """Return the folder of an execution given now."""
    return await trees.ready(assignment, unconfined, since=CLOCK.boottime())
