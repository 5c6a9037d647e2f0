"""Clones of tasks, made with a real git from repositories on this machine."""

from __future__ import annotations

import asyncio
import os
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from events.running import Assignment
from pandar_daemon.adapters.disk.folders import DataFolders
from pandar_daemon.adapters.process.host import Host
from pandar_daemon.services.errand import Told
from pandar_daemon.services.git import Call, Unprepared
from pandar_daemon.services.git_access import Admission
from pandar_daemon.services.making import Tree
from pandar_daemon.services.trees import Trees
from tests.support.git_server import git_server
from tests.support.repositories import (
    CLOCK,
    commit,
    git,
    given,
    make_origin,
    make_trees,
    ready,
    unconfined,
)


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """Return a repository people work in, with one commit on main."""
    return make_origin(tmp_path / "origin")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a runner's data directory."""
    return tmp_path / "data"


@pytest.fixture
def trees(data: Path, host: Host) -> Trees:
    """Return the folders of a runner's tasks."""
    return make_trees(data, host)


async def refused(trees: Trees, assignment: Assignment) -> str:
    """Return why a folder cannot be made ready."""
    with pytest.raises(Unprepared) as refusal:
        await ready(trees, assignment)
    return str(refusal.value)


async def test_a_task_works_on_a_clone(trees: Trees, origin: Path) -> None:
    """It is on a branch of its own, at the base branch, with nothing of it uncommitted."""
    tree = await ready(trees, given(origin, 42))
    folder = Path(tree.path)
    assert tree.branch == "pandar/42-fix-the-tests"
    assert git(folder, "status", "--porcelain=v1", "--branch") == f"## {tree.branch}"
    assert git(folder, "rev-parse", "HEAD", "origin/main").split() == [tree.base] * 2
    assert (folder / "src/a.py").read_text() == "print(1)\n"
    assert git(folder, "remote", "get-url", "origin") == str(origin)
    assert git(folder, "fsck", "--strict") == ""


async def test_a_file_url_is_a_path(trees: Trees, origin: Path) -> None:
    """Both forms of a repository on this machine can be used."""
    tree = await ready(trees, given(f"file://{origin}"))
    assert (Path(tree.path) / "README").read_text() == "hello\n"


async def test_the_base_branch_is_the_one_that_is_named(trees: Trees, origin: Path) -> None:
    """Without a name it is the repository's own, wherever that has moved."""
    git(origin, "checkout", "-q", "-b", "next")
    tip = commit(origin, {"new": "1"})
    git(origin, "checkout", "-q", "main")
    assert (await ready(trees, given(origin, 1, base_branch="next"))).base == tip
    assert (await ready(trees, given(origin, 2))).base == git(origin, "rev-parse", "main")
    git(origin, "checkout", "-q", "next")
    assert (await ready(trees, given(origin, 3))).base == tip


async def test_what_is_shared_can_only_be_read(trees: Trees, origin: Path) -> None:
    """Every file that has more than one name is protected, as are git's settings and hooks."""
    first, second = await ready(trees, given(origin, 1)), await ready(trees, given(origin, 2))
    for tree in (first, second):
        many = {str(path) for path in files(tree) if path.stat().st_nlink > 1}
        assert any(name.endswith(".pack") for name in many)
        git_folder = f"{tree.path}/.git"
        assert set(tree.protected) == {*many, f"{git_folder}/config", f"{git_folder}/hooks"}


async def test_two_tasks_share_nothing_they_can_write(trees: Trees, origin: Path) -> None:
    """No file of one is a file of the other, but for those that are protected."""
    first, second = await ready(trees, given(origin, 1)), await ready(trees, given(origin, 2))
    theirs = [
        {path.stat().st_ino for path in files(tree) if str(path) not in tree.protected}
        for tree in (first, second)
    ]
    assert theirs[0]
    assert theirs[0].isdisjoint(theirs[1])


def files(tree: Tree) -> list[Path]:
    """Return all files of a folder."""
    found = (Path(top, name) for top, _, names in os.walk(tree.path) for name in names)
    return [path for path in found if not path.is_symlink()]


async def test_a_retry_goes_on_where_it_was(trees: Trees, origin: Path) -> None:
    """Its own branch, its commits and its files stay, also when the base has moved on."""
    tree = await ready(trees, given(origin))
    mine = commit(Path(tree.path), {"mine": "1"})
    commit(origin, {"theirs": "1"})
    again = await ready(trees, given(origin, attempt=2))
    assert (again.base, again.branch, again.protected) == (tree.base, tree.branch, tree.protected)
    assert git(Path(again.path), "rev-parse", "HEAD") == mine
    assert not (Path(again.path) / "theirs").exists()


async def test_a_rewritten_base_is_told(trees: Trees, origin: Path) -> None:
    """A retry on a history that is no more is refused; one that goes on is not."""
    tree = await ready(trees, given(origin))
    git(origin, "commit", "-q", "--amend", "-m", "another history")
    why = await refused(trees, given(origin, attempt=2))
    assert why.startswith("branch main was rewritten: it no longer has ")
    assert tree.base[:12] in why
    assert tree.branch in why


async def test_a_base_that_is_gone_is_told(trees: Trees, origin: Path) -> None:
    """It is named, at first and at a retry."""
    why = await refused(trees, given(origin, base_branch="nowhere"))
    assert why == f"the repository {origin} has no branch nowhere"
    git(origin, "branch", "next")
    await ready(trees, given(origin, 2, base_branch="next"))
    git(origin, "branch", "-D", "next")
    why = await refused(trees, given(origin, 2, base_branch="next", attempt=2))
    assert why == f"the repository {origin} has no branch next"


async def test_a_retry_needs_no_repository(trees: Trees, origin: Path) -> None:
    """While it cannot be reached a task goes on with what it has."""
    tree = await ready(trees, given(origin))
    os.rename(origin, origin.with_name("elsewhere"))
    assert (await ready(trees, given(origin, attempt=2))).branch == tree.branch
    assert f"the repository {origin} cannot be" in await refused(trees, given(origin, 2))


async def test_what_was_not_finished_is_made_anew(trees: Trees, origin: Path, data: Path) -> None:
    """A folder whose making broke off is not taken for whole."""
    await refused(trees, given(origin, base_branch="nowhere"))
    (data / "workspaces" / "task-1" / "left").write_text("half")
    tree = await ready(trees, given(origin))
    assert not (Path(tree.path) / "left").exists()


async def test_an_empty_repository_is_told(trees: Trees, tmp_path: Path) -> None:
    """There is nothing to begin at."""
    git(tmp_path, "init", "-q", "--bare", "empty.git")
    why = await refused(trees, given(tmp_path / "empty.git"))
    assert why.endswith("empty.git has no commit yet: there is nothing to begin at")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("/nowhere/at/all", "the repository /nowhere/at/all cannot be cloned: fatal: "),
        ("ext::sh -c 'touch /tmp/owned'", "the project's repository cannot be used"),
        ("--upload-pack=touch /tmp/owned", "the project's repository cannot be used"),
        ("https://user:hunter2@localhost/x", "the project's repository cannot be used"),
        ("http://127.0.0.1:9/x.git", "the repository http://127.0.0.1:9/x.git cannot be cloned"),
    ],
)
async def test_a_repository_that_cannot_be_cloned(trees: Trees, url: str, why: str) -> None:
    """It is named, with what git says of it; a password is not."""
    said = await refused(trees, given(url))
    assert said.startswith(why)
    assert "hunter2" not in said


async def test_no_repository_is_an_empty_folder(trees: Trees) -> None:
    """As for a project that names none; what is in it stays."""
    assignment = given("/x", repository=None)
    tree = await ready(trees, assignment)
    assert (tree.branch, tree.protected, os.listdir(tree.path)) == ("", (), [])
    (Path(tree.path) / "kept").touch()
    assert os.listdir((await ready(trees, assignment)).path) == ["kept"]
    assert os.listdir((await ready(trees, given("/x"))).path) == ["kept"]


@pytest.mark.parametrize("kind", ["changed", "staged", "new", "deleted"])
async def test_a_dirty_repository_is_told(trees: Trees, origin: Path, kind: str) -> None:
    """What is not committed a task would not have: it does not begin."""
    if kind == "new":
        (origin / "new file\n").touch()
    elif kind == "deleted":
        (origin / "README").unlink()
    else:
        (origin / "README").write_text("other\n")
    if kind == "staged":
        git(origin, "add", "-A")
    why = await refused(trees, given(origin))
    assert "has uncommitted changes, which the task would not have: commit or stash them" in why
    assert why.endswith("new file\\n" if kind == "new" else "README")


async def test_listed_files_come_along(trees: Trees, origin: Path, tmp_path: Path) -> None:
    """Untracked files that `.worktreeinclude` lists are copied: no others, nothing by a link."""
    (tmp_path / "secret").write_text("s3cret")
    commit(origin, {".gitignore": "*.env\nnode/\n", ".worktreeinclude": "*.env\nnode/\nout\n"})
    for name in ("a.env", "node/x/y.js", "kept.txt"):
        (origin / name).parent.mkdir(parents=True, exist_ok=True)
        (origin / name).write_text(name)
    (origin / "node/run").write_text("#!/bin/sh\n")
    (origin / "node/run").chmod(0o755)
    (origin / "node/out").symlink_to(tmp_path / "secret")
    (origin / "node/in").symlink_to("x/y.js")
    (origin / "out").symlink_to(tmp_path)
    assert "kept.txt" in await refused(trees, given(origin))
    (origin / "kept.txt").unlink()
    tree = Path((await ready(trees, given(origin))).path)
    assert (tree / "a.env").read_text() == "a.env"
    assert (tree / "node/in").read_text() == "node/x/y.js"
    assert os.access(tree / "node/run", os.X_OK)
    assert not (tree / "node/out").is_symlink()
    assert not (tree / "out").exists()
    assert git(tree, "status", "--porcelain") == ""


async def test_what_a_broken_submodule_breaks(trees: Trees, origin: Path) -> None:
    """Nothing: submodules are left to the project's setup."""
    head = git(origin, "rev-parse", "HEAD")
    (origin / ".gitmodules").write_text('[submodule "s"]\n\tpath = s\n\turl = ext::sh -c exit\n')
    git(origin, "update-index", "--add", "--cacheinfo", f"160000,{head[::-1]},s")
    git(origin, "add", ".gitmodules")
    git(origin, "commit", "-q", "-m", "broken")
    tree = Path((await ready(trees, given(origin))).path)
    assert (tree / "README").read_text() == "hello\n"
    assert list((tree / "s").iterdir()) == []


async def test_tasks_given_together_fetch_once(
    trees: Trees, origin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four at once make one clone of the mirror; one given later fetches what is new."""
    asked: list[tuple[str, ...]] = []
    run = trees.git.run

    async def recorded(call: Call) -> Told:
        asked.append(call.argv)
        return await run(call)

    monkeypatch.setattr(trees.git, "run", recorded)
    at = CLOCK.boottime()
    made = await asyncio.gather(
        *(trees.ready(given(origin, n), unconfined, since=at) for n in range(1, 5))
    )
    assert len({tree.path for tree in made}) == 4
    assert [argv[1] for argv in asked if argv[1] in {"clone", "fetch"}] == ["clone"]
    tip = commit(origin, {"new": "1"})
    assert (await ready(trees, given(origin, 5))).base == tip


async def test_a_removed_task_leaves_nothing(trees: Trees, origin: Path, data: Path) -> None:
    """Folder and record go together, those of others stay; and it can begin once more."""
    tree, other = await ready(trees, given(origin)), await ready(trees, given(origin, 11))
    commit(Path(tree.path), {"mine": "1"})
    clear(data, [1], CLOCK.now())
    assert sorted(os.listdir(data / "workspaces")) == [".removing", "task-11"]
    assert sorted(os.listdir(data / "trees")) == [".removing", "task-11", "task-11.json"]
    assert git(Path(other.path), "fsck", "--strict") == ""
    assert not (Path((await ready(trees, given(origin))).path) / "mine").exists()


async def test_mirrors_nobody_uses_are_removed(trees: Trees, origin: Path, data: Path) -> None:
    """Clones keep what they shared with them."""
    tree = await ready(trees, given(origin))
    clear(data, [], CLOCK.now() - timedelta(days=1))
    assert len(mirrors(data)) == 1
    clear(data, [], CLOCK.now() + timedelta(days=1))
    assert mirrors(data) == []
    assert git(Path(tree.path), "fsck", "--strict") == ""
    assert (await ready(trees, given(origin, 2))).base == tree.base


def mirrors(data: Path) -> list[str]:
    """Return the mirrors there are."""
    return [name for name in os.listdir(data / "mirrors") if name.endswith(".git")]


def clear(data: Path, tasks: list[int], unused_since: datetime) -> None:
    """Remove what is left of tasks, and mirrors unused for so long."""
    folders = DataFolders(data)
    assert folders.discard(tasks) == []
    assert folders.clear(unused_since=unused_since, limit=10_000).left == ()


async def test_a_repository_behind_http(trees: Trees, origin: Path) -> None:
    """With what it asks for it is cloned and fetched; without, the task fails and says so."""
    await asyncio.to_thread(git, origin.parent, "clone", "-q", "--bare", "origin", "bare.git")
    async with git_server(origin.parent, authorization="Basic dTpw") as server:
        url = f"{server}/bare.git"
        why = await refused(trees, given(url))
        assert why.startswith(f"the repository {url} cannot be cloned: fatal: ")
        assert why.endswith("(give the project a secret for git)")
        admission = Admission(settings={f"http.{server}.extraHeader": "Authorization: Basic dTpw"})
        for task in (2, 3):
            since = CLOCK.boottime()
            tree = await trees.ready(given(url, task), unconfined, since=since, admission=admission)
            assert git(tree.path, "remote", "get-url", "origin") == url
            assert (Path(tree.path) / "README").read_text() == "hello\n"
    why = await refused(trees, given(url, 4))
    assert why.startswith(f"the repository {url} cannot be fetched: fatal: unable to access")
    assert (await ready(trees, given(url, 2, attempt=2))).branch == "pandar/2-fix-the-tests"


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder away")
async def test_a_repository_of_another_user(trees: Trees, origin: Path) -> None:
    """Its owner could have it run programs as us: it is left alone, and the reason said."""
    await asyncio.to_thread(run, "chown", "-R", "12345", str(origin))
    assert "belongs to another user than Pandar's" in await refused(trees, given(origin))


def run(*argv: str) -> None:
    """Run a program; fails when it does."""
    subprocess.run(argv, check=True)
