"""Where a task runs, and with which environment: nothing of ours is inherited."""

from __future__ import annotations

import os
import pwd
from functools import lru_cache
from pathlib import Path

from msgspec import Struct

from events.confinement import Level
from events.running import Assignment
from pandar_daemon.domain.shell_free import words_of
from pandar_daemon.ports import REMOVED, Launch, Spec
from pandar_daemon.services.confines import admit_agent, box_of, inside
from pandar_daemon.services.enclosing import Reach
from pandar_daemon.services.making import Tree, made_folder, made_within
from pandar_daemon.services.means import Means

_SHELLS = ("/bin/bash", "/bin/sh")


class Work(Struct, frozen=True, kw_only=True):
    """What to run; ``launch`` is what there is to know of it when it is an agent."""

    spec: Spec
    home: str
    launch: Launch | None = None


def workspace_of(data: Path, task_id: int) -> Path:
    """Return where a task works."""
    return data / "workspaces" / f"task-{task_id}"


def begun_afresh(assignment: Assignment, data: Path) -> list[str]:
    """Return, once, the line that says that what earlier attempts left here was removed, if so."""
    try:
        (data / REMOVED / str(assignment.task_id)).unlink()
    except OSError:
        return []
    return ["What earlier attempts left was removed, for they were long over: this begins afresh."]


def prepare(means: Means, assignment: Assignment, tree: Tree, *, until: float) -> Work:
    """Make a task's home, unless an earlier attempt did, and return what to run in its tree.

    ``workspaces/task-<id>`` and ``homes/task-<id>`` stay for the attempts to come. Raises
    ``OSError`` naming the folder that could not be made, or what the agent needs.
    """
    if assignment.prompt:
        return agent_spec(means, assignment, tree, until=until)
    return command_spec(means, assignment, assignment.command, tree, until=until)


def command_spec(
    means: Means, assignment: Assignment, command: str, tree: Tree, *, until: float
) -> Work:
    """Return how to run a shell command in a task's tree; raises ``OSError`` as `prepare` does."""
    home = _home(means.data, assignment.task_id)
    reach = Reach(
        folder=tree.path,
        home=str(home),
        protected=tree.protected,
        overlays=means.openings.overlays,
    )
    box = box_of(assignment, means.house, reach)
    environment = {
        **_environment(assignment, home, means.path),
        "PWD": tree.path,  # as a shell would tell what it starts
        **tree.environment,
    }
    spec = Spec(
        execution_id=assignment.execution_id,
        argv=(_shell(), "-c", command),
        direct=words_of(command),
        cwd=tree.path,
        environment=inside(environment, box, means.openings.shims),
        until=until,
        box=box,
    )
    return Work(spec=spec, home=str(home))


def agent_spec(
    means: Means, assignment: Assignment, tree: Tree, *, until: float, home_suffix: str = ""
) -> Work:
    """Make a home for a task's agent, and return how to start that in the task's tree.

    Raises ``OSError`` as `prepare` does.
    """
    admit_agent(assignment)
    home = _home(means.data, assignment.task_id, home_suffix)
    boxed = assignment.confines.level is not Level.NONE
    launch = means.agents.launch(assignment.agent or "", assignment, home, boxed=boxed)
    for name, text in launch.files.items():
        file = home / name
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    reach = Reach(
        folder=tree.path,
        home=str(home),
        readable=launch.readable,
        protected=tree.protected,
        overlays=means.openings.overlays,
    )
    box = box_of(assignment, means.house, reach)
    environment = {**launch.environment, **_tags(assignment), **tree.environment}
    spec = Spec(
        execution_id=assignment.execution_id,
        argv=launch.argv,
        cwd=tree.path,
        environment=inside(environment, box, means.openings.shims),
        until=until,
        piped=True,
        box=box,
    )
    return Work(spec=spec, home=str(home), launch=launch)


def _home(data: Path, task_id: int, suffix: str = "") -> Path:
    home = made_folder(data / "homes" / f"task-{task_id}{suffix}")
    made_within(home, "tmp")
    return home


def _environment(assignment: Assignment, home: Path, path: str) -> dict[str, str]:
    return {
        "PATH": path,
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "USER": _user(),
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        **_tags(assignment),
    }


def _tags(assignment: Assignment) -> dict[str, str]:
    return {
        "PANDAR_EXECUTION_ID": str(assignment.execution_id),
        "PANDAR_TASK_ID": str(assignment.task_id),
        "PANDAR_ATTEMPT": str(assignment.attempt),
    }


@lru_cache(maxsize=1)
def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without an account
        return str(os.getuid())


@lru_cache(maxsize=1)
def _shell() -> str:
    return next((shell for shell in _SHELLS if Path(shell).exists()), _SHELLS[-1])
