"""What a clone and a checkpoint cost of a repository of many files, against plain `git clone`."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path
from uuid import uuid4

from bench.figures import Figure, at_most, ratio, typical
from bench.scale import Scale
from events.running import Assignment, Repository
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.disk.folders import DataFolders
from pandar_daemon.adapters.process.host import Host
from pandar_daemon.services import checkpoints
from pandar_daemon.services.checkpoints import Point
from pandar_daemon.services.enclosing import Reach
from pandar_daemon.services.git import Git
from pandar_daemon.services.making import Tree
from pandar_daemon.services.trees import Trees

PART = "clones"
_CLOCK = SystemClock()
_PATH = "/usr/local/bin:/usr/bin:/bin"
_LINES = "a line like many others\n" * 50
_OPTIONS = ("-c", "user.name=bench", "-c", "user.email=bench@localhost")


async def measure(data: Path, scale: Scale) -> list[Figure]:
    """Return what folders of tasks cost without a box, once the mirror is there."""
    origin = await asyncio.to_thread(_origin, data / "origin", scale.clone_files)
    trees = _trees(data / "data")
    await _ready(trees, origin, 1)
    ours, plain, kept = list[float](), list[float](), list[float]()
    for task in range(2, scale.clone_rounds + 2):
        began = time.perf_counter()
        tree = await _ready(trees, origin, task)
        ours.append(time.perf_counter() - began)
        plain.append(await asyncio.to_thread(_plain, origin, data / f"plain-{task}"))
        kept.append(await _kept(trees, tree))
    files = f"{scale.clone_files:,} files"
    return [
        Figure(
            part=PART,
            what="a task's clone from a warm mirror, of a plain `git clone`",
            value=ratio(typical(ours), typical(plain)),
            unit="x",
            goal=at_most(1.5),
            note=f"{typical(ours):.2f} s, plain {typical(plain):.2f} s; {files}",
        ),
        Figure(
            part=PART,
            what="a checkpoint with its patch, one file changed",
            value=typical(kept),
            unit="s",
            goal=at_most(2.0),
            note=files,
        ),
    ]


def _origin(folder: Path, files: int) -> Path:
    """Return a bare repository with so many files."""
    work = folder / "work"
    for number in range(files):
        file = work / f"d{number % 100}" / f"f{number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{number}\n{_LINES}")
    _git(work, "init", "-q", "-b", "main")
    _git(work, "add", "-A")
    _git(work, *_OPTIONS, "commit", "-q", "-m", "all")
    _git(folder, "clone", "-q", "--bare", "work", "bare.git")
    return folder / "bare.git"


def _git(folder: Path, *words: str) -> None:
    environment = {"PATH": _PATH, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
    subprocess.run(("git", *words), cwd=folder, env=environment, check=True)


def _plain(origin: Path, target: Path) -> float:
    began = time.perf_counter()
    _git(origin, "clone", "-q", "--no-local", str(origin), str(target))
    return time.perf_counter() - began


def _trees(data: Path) -> Trees:
    git = Git(Host(data), _CLOCK, home=data / "mirrors", path=_PATH)
    return Trees(data, git, DataFolders(data), _CLOCK)


async def _ready(trees: Trees, origin: Path, task: int) -> Tree:
    assignment = Assignment(
        task_id=task,
        project_id=1,
        execution_id=uuid4(),
        epoch=1,
        attempt=1,
        command="true",
        name="bench",
        metadata={},
        repository=Repository(url=str(origin)),
    )
    return await trees.ready(assignment, _unconfined, since=_CLOCK.boottime())


def _unconfined(_reach: Reach) -> None:
    return


async def _kept(trees: Trees, tree: Tree) -> float:
    await asyncio.to_thread((Path(tree.path) / "changed").write_text, _LINES)
    began = time.perf_counter()
    await checkpoints.keep(trees.git, Point(tree=tree, box=None, ref="refs/pandar/checkpoints/1-1"))
    return time.perf_counter() - began
