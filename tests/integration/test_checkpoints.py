"""The files of a task are kept as they are, whatever its agent made of them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pandar_daemon.adapters.process.host import Host
from pandar_daemon.domain.changes import FileChange, stat_text
from pandar_daemon.ports import Diff
from pandar_daemon.services import checkpoints
from pandar_daemon.services.checkpoints import Point
from pandar_daemon.services.making import Tree
from pandar_daemon.services.trees import Trees
from tests.support.repositories import (
    ENVIRONMENT,
    commit,
    git,
    given,
    make_origin,
    make_trees,
    ready,
)

REF = "refs/pandar/checkpoints/1-1"


@pytest.fixture
def trees(tmp_path: Path, host: Host) -> Trees:
    """Return the folders of a runner's tasks."""
    return make_trees(tmp_path / "data", host)


@pytest.fixture
async def tree(trees: Trees, tmp_path: Path) -> Tree:
    """Return the folder of a task."""
    return await ready(trees, given(make_origin(tmp_path / "origin"), 42))


async def keep(trees: Trees, tree: Tree, ref: str = REF, previous: str = "") -> Diff | None:
    """Return what keeping the files tells."""
    return await checkpoints.keep(trees.git, Point(tree=tree, box=None, ref=ref, previous=previous))


async def kept(trees: Trees, tree: Tree) -> Diff:
    """Return what keeping the files tells, the first time."""
    diff = await keep(trees, tree)
    assert diff is not None
    return diff


async def test_files_are_kept_as_they_are(trees: Trees, tree: Tree) -> None:
    """What is changed, new, gone and committed is all in it; ignored files are not."""
    commit(tree.path, {"committed": "1\n2\n", ".gitignore": "*.log\n"})
    folder = Path(tree.path)
    (folder / "README").write_text("changed\n")
    (folder / "src/a.py").unlink()
    (folder / "new").write_text("new\n")
    (folder / "x.log").write_text("ignored")
    changes = (await kept(trees, tree)).changes
    assert git(folder, "rev-parse", REF) == changes.commit
    assert git(folder, "ls-tree", "-r", "--name-only", REF).split() == [
        *(".gitignore", "README", "committed", "new")
    ]
    assert (changes.base, changes.branch, changes.commits) == (tree.base, tree.branch, 1)
    assert list(changes.files) == [
        FileChange(path=".gitignore", insertions=1, deletions=0),
        FileChange(path="README", insertions=1, deletions=1),
        FileChange(path="committed", insertions=2, deletions=0),
        FileChange(path="new", insertions=1, deletions=0),
        FileChange(path="src/a.py", insertions=0, deletions=1),
    ]
    assert (changes.count, changes.insertions, changes.deletions) == (5, 5, 2)


async def test_the_agent_notices_nothing(trees: Trees, tree: Tree) -> None:
    """Its index, its branch and its HEAD are as they were, half staged files included."""
    folder = Path(tree.path)
    (folder / "staged").write_text("staged\n")
    git(folder, "add", "staged")
    (folder / "README").write_text("changed\n")
    before = ((folder / ".git/index").read_bytes(), git(folder, "log", "--all", "--format=%H %D"))
    status = git(folder, "status", "--porcelain")
    await kept(trees, tree)
    index = (folder / ".git/index").read_bytes()
    assert (index, git(folder, "log", "--branches", "--remotes", "--format=%H %D")) == before
    assert git(folder, "status", "--porcelain") == status


async def test_the_patch_applies(trees: Trees, tree: Tree, tmp_path: Path) -> None:
    """To where the task began: it makes the same files."""
    folder = Path(tree.path)
    (folder / "README").write_text("changed\n")
    (folder / "src/b é\n.py").write_text("print(2)\n")
    os.rename(folder / "src/a.py", folder / "src/c.py")
    diff = await kept(trees, tree)
    git(tmp_path / "origin", "apply", "--index", given=diff.patch)
    there = git(tmp_path / "origin", "write-tree")
    assert there == git(folder, "rev-parse", f"{REF}^{{tree}}")


async def test_nothing_new_is_not_kept_again(trees: Trees, tree: Tree) -> None:
    """A commit of its own is something new, also without a change of files."""
    (Path(tree.path) / "new").write_text("new\n")
    first = await kept(trees, tree)
    again = f"{REF[:-1]}2"
    assert await keep(trees, tree, again, first.changes.commit) is None
    commit(tree.path, {})
    assert await keep(trees, tree, again, first.changes.commit) is not None


async def test_odd_names(trees: Trees, tree: Tree) -> None:
    """Names with newlines, escapes, quotes, and bytes that are no text."""
    names = [
        b"new\nline",
        b"\xff\xfe",
        b"\x1b[2Jclear",
        b'"quoted"',
        b":(top)",
        b"-rf",
        "ž".encode(),
    ]
    for name in names:
        (Path(tree.path) / os.fsdecode(name)).write_text("x\n")
    diff = await kept(trees, tree)
    paths = {each.path for each in diff.changes.files}
    assert paths == {"new\nline", "\\xff\\xfe", "\x1b[2Jclear", '"quoted"', ":(top)", "-rf", "ž"}
    shown = stat_text(diff.changes)
    assert len(shown.splitlines()) == len(names) + 1
    assert "new⟨U+000A⟩line" in shown
    assert "\x1b" not in shown
    assert b"\x1b" not in diff.patch


async def test_a_file_of_ten_gigabytes_is_left_out(trees: Trees, tree: Tree) -> None:
    """It is named; all else is kept."""
    with (Path(tree.path) / "huge\n").open("wb") as file:
        file.truncate(10 * 2**30)
    with (Path(tree.path) / "README").open("wb") as file:
        file.truncate(10 * 2**30)
    (Path(tree.path) / "new").write_text("new\n")
    changes = (await kept(trees, tree)).changes
    assert [each.path for each in changes.files] == ["new"]
    assert sorted(changes.skipped) == ["README", "huge\n"]


async def test_a_long_patch_is_cut_and_said(
    trees: Trees, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end of a line."""
    monkeypatch.setattr(checkpoints, "PATCH_MAX", 100_000)
    (Path(tree.path) / "long").write_text("a line\n" * 100_000)
    diff = await kept(trees, tree)
    assert diff.changes.cut
    assert diff.changes.insertions == 100_000
    assert 0 < len(diff.patch) == diff.changes.patch_bytes <= 100_000
    assert diff.patch.endswith(b"\n")


async def test_what_is_no_text_is_only_named(trees: Trees, tree: Tree) -> None:
    """A binary file is one line of the patch."""
    (Path(tree.path) / "image").write_bytes(bytes(range(256)) * 100)
    diff = await kept(trees, tree)
    assert list(diff.changes.files) == [FileChange(path="image")]
    assert b"Binary files /dev/null and b/image differ" in diff.patch


@pytest.mark.parametrize(
    "script",
    [
        "git init -q inner",  # a repository without a commit
        "mkdir sub; echo 'gitdir: /nowhere' > sub/.git",  # a broken submodule
        "mkfifo pipe; ln -s / root; ln -s /etc/passwd link; ln -s pipe dangling",
        "echo x > closed; chmod 0 closed",
        "git checkout -q --orphan other; git rm -rfq --cached .",
        "git checkout -q --detach",
        "rm .git/index; echo garbage > .git/index",
        "rm -r .git/refs/heads; mkdir .git/refs/heads",  # HEAD is unborn
        "git update-index --assume-unchanged README; echo other > README",
        "printf '* filter=evil diff=evil\\n' > .gitattributes",
    ],
)
async def test_what_an_agent_does_to_its_clone(trees: Trees, tree: Tree, script: str) -> None:
    """Its files are kept all the same."""
    run(script, tree.path)
    (Path(tree.path) / "new").write_text("new\n")
    changes = (await kept(trees, tree)).changes
    assert "new" in {each.path for each in changes.files}
    if "assume" in script:
        assert "README" in {each.path for each in changes.files}


def run(script: str, folder: str) -> None:
    """Run a shell script in a folder."""
    subprocess.run(["/bin/sh", "-c", script], cwd=folder, check=True, env=ENVIRONMENT)


async def test_what_an_agent_names_is_not_run(trees: Trees, tree: Tree, tmp_path: Path) -> None:
    """Neither hooks nor drivers nor monitors that the settings of a clone name."""
    evil = tmp_path / "evil"
    evil.write_text(f"#!/bin/sh\ntouch {tmp_path}/owned\ncat\n")
    evil.chmod(0o755)
    for setting in (
        *("core.fsmonitor", "diff.external", "diff.evil.command", "diff.evil.textconv"),
        *("core.pager", "core.editor", "gpg.program"),
    ):
        git(tree.path, "config", setting, str(evil))
    git(tree.path, "config", "commit.gpgsign", "true")
    git(tree.path, "config", "core.hooksPath", str(tmp_path))
    for hook in ("reference-transaction", "post-index-change", "pre-commit"):
        (tmp_path / hook).symlink_to(evil)
        (Path(tree.path) / ".git/hooks" / hook).symlink_to(evil)
    (Path(tree.path) / ".gitattributes").write_text("* diff=evil\n")
    (Path(tree.path) / "README").write_text("changed\n")
    changes = (await kept(trees, tree)).changes
    assert changes.count == 2
    assert not (tmp_path / "owned").exists()


async def test_a_clone_that_is_gone_is_told(trees: Trees, tree: Tree) -> None:
    """Nothing is kept, and the reason is git's."""
    os.rename(Path(tree.path) / ".git", Path(tree.path) / "other")
    with pytest.raises(OSError, match="its files cannot be kept: fatal: not a git repository"):
        await keep(trees, tree)
