"""Folders on a real disk: trees that an enemy made are measured and removed, and nothing else."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pandar_daemon.adapters.disk.folders import DataFolders
from pandar_daemon.ports import REMOVED

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
MB = 2**20


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a data directory with one task in it."""
    workspace(tmp_path / "data", 1)
    return tmp_path / "data"


def workspace(data: Path, task_id: int) -> Path:
    """Make the folders of a task, and return its workspace."""
    (data / "homes" / f"task-{task_id}" / "tmp").mkdir(parents=True)
    (data / "homes" / f"task-{task_id}-proxy").mkdir()
    (data / "trees" / f"task-{task_id}").mkdir(parents=True)
    (data / "trees" / f"task-{task_id}.json").write_text("{}")
    made = data / "workspaces" / f"task-{task_id}"
    made.mkdir(parents=True)
    return made


def removed(data: Path, task_id: int = 1) -> tuple[str, ...]:
    """Remove all of a task; return what was left, and why."""
    folders = DataFolders(data)
    left = folders.discard([task_id])
    assert left == []
    while (cleared := folders.clear(unused_since=LONG_AGO, limit=1_000)).more:
        assert cleared.removed
    return cleared.left


def below(folder: Path) -> list[Path]:
    """Return the files in a folder, but what is remembered of those that went."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if path.parent.name != REMOVED]


def test_all_of_a_task_is_removed_and_nothing_of_another(data: Path) -> None:
    """Workspace and homes of the task are gone; a task whose number begins alike keeps its own."""
    (data / "workspaces" / "task-1" / "a").write_text("x")
    (workspace(data, 11) / "b").write_text("y")
    assert DataFolders(data).tasks() == [1, 11]

    assert removed(data) == ()
    assert DataFolders(data).tasks() == [11]
    left = {data / "workspaces" / "task-11" / "b", data / "trees" / "task-11.json"}
    assert set(below(data)) == left
    assert list((data / "workspaces" / ".removing").iterdir()) == []


def test_links_are_removed_and_not_followed(data: Path, tmp_path: Path) -> None:
    """Links to files, folders, nowhere, themselves and up: what they lead to is as it was."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (outside / "precious").write_text("mine")
    here = data / "workspaces" / "task-1"
    for name, target in {
        "folder": str(outside),
        "file": str(outside / "precious"),
        "nowhere": "/nowhere",
        "self": "self",
        "up": "../../..",
        "root": "/",
    }.items():
        (here / name).symlink_to(target)
    os.link(outside / "precious", here / "hard")
    (data / "homes" / "task-1" / "tmp").rmdir()
    (data / "homes" / "task-1" / "tmp").symlink_to(outside)

    assert removed(data) == ()
    assert (outside / "precious").read_text() == "mine"
    assert outside.stat().st_mode & 0o777 == 0o700
    assert not here.exists()


def test_a_workspace_that_is_a_link_is_removed_itself(data: Path, tmp_path: Path) -> None:
    """Where the whole folder was replaced by a link, the link goes."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("mine")
    here = data / "workspaces" / "task-1"
    here.rmdir()
    here.symlink_to(outside)

    assert DataFolders(data).used(1) < MB
    assert removed(data) == ()
    assert (outside / "precious").read_text() == "mine"
    assert not here.is_symlink()


@pytest.mark.parametrize("replaced", ["workspaces", "workspaces/.removing"])
def test_nothing_is_done_behind_a_link_on_the_way(
    data: Path, tmp_path: Path, replaced: str
) -> None:
    """With a link in place of a folder of ours nothing is touched, and it is said."""
    outside = tmp_path / "outside"
    (outside / "task-1").mkdir(parents=True)
    (outside / "task-1" / "precious").write_text("mine")
    place = data / replaced
    if place.exists():
        place.rename(tmp_path / "moved")
    place.symlink_to(outside)
    folders = DataFolders(data)

    said: list[str] = []
    try:
        said += folders.discard([1])
        folders.clear(unused_since=LONG_AGO, limit=1_000)
    except OSError as error:
        said.append(str(error))
    assert said
    assert (outside / "task-1" / "precious").read_text() == "mine"


def test_strange_names_modes_and_kinds_are_removed(data: Path) -> None:
    """Names with newlines or no encoding, folders nobody may read, pipes, sockets: all go."""
    here = data / "workspaces" / "task-1"
    for name in ("new\nline", "-rf", "*", " ", "\x1b[2J", "..."):
        (here / name).write_text("x")
    Path(os.fsdecode(os.fsencode(here) + b"/\xff\xfe")).write_text("x")
    os.mkfifo(here / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(here)
        listening.bind("socket")
        os.chdir("/")
    for mode in (0o000, 0o400, 0o500):
        locked = here / f"locked-{mode}" / "inner"
        locked.mkdir(parents=True)
        (locked / "file").write_text("x")
        (locked / "file").chmod(0o000)
        locked.chmod(mode)
        locked.parent.chmod(mode)

    assert removed(data) == ()
    assert not here.exists()


def test_a_tree_deeper_than_any_path_is_measured_and_removed(data: Path) -> None:
    """Five thousand folders deep, with a megabyte at the bottom."""
    here = os.open(data / "workspaces" / "task-1", os.O_RDONLY)
    for _ in range(5_000):
        os.mkdir("d", dir_fd=here)
        below_ = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below_
    file = os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=here)
    os.write(file, bytes(MB))
    os.close(file)
    os.close(here)

    assert DataFolders(data).used(1) >= MB
    assert removed(data) == ()
    assert list((data / "workspaces" / ".removing").iterdir()) == []


def test_a_hundred_thousand_files_are_removed_a_few_at_a_time(data: Path) -> None:
    """No call does more than it was told to."""
    here = os.open(data / "workspaces" / "task-1", os.O_RDONLY)
    for number in range(100_000):
        os.close(os.open(str(number), os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)
    folders = DataFolders(data)
    assert folders.discard([1]) == []

    calls = [folders.clear(unused_since=LONG_AGO, limit=30_000)]
    while calls[-1].more:
        calls.append(folders.clear(unused_since=LONG_AGO, limit=30_000))
    assert [call.removed for call in calls[:3]] == [30_000] * 3
    assert not any(path.is_file() for path in (data / "workspaces").rglob("*"))


def test_a_folder_that_is_being_filled_is_removed_once_that_ends(data: Path) -> None:
    """While somebody fills it a call ends all the same; afterwards nothing is left."""
    here = data / "workspaces" / "task-1"
    inside = os.open(here, os.O_RDONLY)
    stop, filling = threading.Event(), threading.Event()

    def fill() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            try:
                os.mkdir(f"d{number}", dir_fd=inside)
                os.close(os.open(f"f{number}", os.O_WRONLY | os.O_CREAT, dir_fd=inside))
            except OSError:
                break  # it was removed under our feet
            filling.set()
        filling.set()

    thread = threading.Thread(target=fill)
    thread.start()
    filling.wait()
    folders = DataFolders(data)
    assert folders.discard([1]) == []
    folders.clear(unused_since=LONG_AGO, limit=200)
    stop.set()
    thread.join()
    os.close(inside)
    while folders.clear(unused_since=LONG_AGO, limit=10_000).more:
        pass
    assert list((data / "workspaces" / ".removing").iterdir()) == []


def test_a_new_workspace_of_the_same_task_is_not_removed_with_the_old_one(data: Path) -> None:
    """A task that is retried between moving away and removing keeps what it has now."""
    (data / "workspaces" / "task-1" / "old").write_text("x")
    folders = DataFolders(data)
    folders.discard([1])
    (data / "workspaces" / "task-1").mkdir()
    (data / "workspaces" / "task-1" / "new").write_text("y")

    folders.clear(unused_since=LONG_AGO, limit=1_000)
    assert [path.name for path in below(data / "workspaces")] == ["new"]
    folders.discard([1])
    folders.discard([1])
    assert removed(data) == ()


def test_mirrors_go_when_nobody_used_them_for_so_long(data: Path) -> None:
    """A mirror's own time says when it was last used; one that is being used stays."""
    for name in ("old", "fresh", "held"):
        (data / "mirrors" / f"{name}.git").mkdir(parents=True)
        (data / "mirrors" / f"{name}.git" / "HEAD").write_text("ref")
    for name in ("old", "held"):
        os.utime(data / "mirrors" / f"{name}.git", (0, 0))
    (data / "mirrors" / "config").write_text("git's own")
    os.utime(data / "mirrors" / "config", (0, 0))

    with (data / "mirrors" / "held.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        DataFolders(data).clear(unused_since=LONG_AGO, limit=1_000)
    left = sorted(path.parent.name for path in (data / "mirrors").rglob("HEAD"))
    assert left == ["fresh.git", "held.git"]
    assert (data / "mirrors" / "config").exists()


def test_what_a_task_takes_is_counted_once_and_not_behind_links(data: Path, tmp_path: Path) -> None:
    """Two names of a file are one file; a file of holes takes nothing; links lead nowhere."""
    here = data / "workspaces" / "task-1"
    (here / "file").write_bytes(bytes(3 * MB))
    os.link(here / "file", here / "again")
    with (here / "holes").open("wb") as holes:
        holes.truncate(1_000 * MB)
    (tmp_path / "big").write_bytes(bytes(9 * MB))
    (here / "link").symlink_to(tmp_path / "big")
    (data / "homes" / "task-1" / "tmp" / "file").write_bytes(bytes(MB))

    assert 4 * MB <= DataFolders(data).used(1) < 5 * MB


def test_room_is_told_by_the_file_system(data: Path) -> None:
    """What is free is no more than all there is."""
    space = DataFolders(data).space()
    assert 0 < space.free <= space.total


MOUNTED = """
import os, subprocess, sys
from datetime import UTC, datetime
from pathlib import Path
from pandar_daemon.adapters.disk.folders import DataFolders
from pandar_daemon.ports import REMOVED
data, outside = Path(sys.argv[1]), Path(sys.argv[2])
here = data / "workspaces" / "task-1"
for name in ("bound/deep", "tmpfs", "beside"):
    (here / name).mkdir(parents=True)
(here / "beside" / "file").write_text("x")
(here / "bound-file").write_text("")
run = lambda *words: subprocess.run(words, check=True)
run("mount", "--bind", str(outside), str(here / "bound/deep"))
run("mount", "--bind", str(outside / "precious"), str(here / "bound-file"))
run("mount", "-t", "tmpfs", "none", str(here / "tmpfs"))
(here / "tmpfs" / "kept").write_bytes(bytes(2**20))
folders = DataFolders(data)
assert folders.used(1) < 2**20, folders.used(1)
assert folders.discard([1]) == []
left = folders.clear(unused_since=datetime(2000, 1, 1, tzinfo=UTC), limit=1000).left
assert not list((data / "workspaces").rglob("beside")), "what can go, goes"
assert (outside / "precious").read_text() == "mine"
assert len(list((data / "workspaces").rglob("kept"))) == 1
print(*left, sep="\\n")
"""


def private_mounts() -> bool:
    """Return whether we can mount something that nobody else sees."""
    if sys.platform != "linux" or os.getuid() != 0:
        return False
    try_it = ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(try_it, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not private_mounts(), reason="needs a mount namespace of its own")
def test_mount_points_are_not_crossed(data: Path, tmp_path: Path) -> None:
    """What is mounted in a workspace, of this file system or another, stays, and is said."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("mine")
    done = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", MOUNTED, str(data), str(outside)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    assert "busy" in done.stdout.lower()
    assert (outside / "precious").read_text() == "mine"
    assert removed(data) == (), "once nothing is mounted there any more, all goes"
