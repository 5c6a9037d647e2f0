"""The shims: which words reach the door, and which become the real program at once."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pandar_daemon.adapters.control.shims import REAL, SHIMS, made, tools

REALS = ("git", "npm", "gh", "terraform", "docker")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return shims whose real programs, and whose door, say what they are."""
    path = tmp_path / "bin"
    path.mkdir()
    for tool in REALS:
        _program(path / tool, "echo real")
    _program(tmp_path / "python", "echo door")
    made(tmp_path / "shims", path=str(path), interpreter=str(tmp_path / "python"))
    return tmp_path / "shims" / "bin"


def _program(file: Path, text: str) -> None:
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def run(folder: Path, words: str) -> str:
    """Return which one runs."""
    tool, *argv = words.split()
    done = subprocess.run([folder / tool, *argv], capture_output=True, text=True, check=False)
    return done.stdout.strip()


AT_THE_DOOR = [
    *("git push", "git push origin main", "git -C push push", "git -c a=b push", "git -P push"),
    *("git --git-dir=x push", "git --git-dir x push", "git fetch", "git pull", "git clone x"),
    *("git ls-remote", "git remote update", "git remote -v update", "git submodule update"),
    *("git submodule --quiet update", "git send-pack", "git -C a -C b push", "git lfs push"),
    *("npm publish", "npm --prefix x publish", "gh pr create", "gh", "terraform apply"),
    *("docker push x", "docker --context x push y", "pandar-secret run X -- y", "twine upload x"),
]
REAL_ONES = [
    *(
        "git",
        "git status",
        "git commit -m push",
        "git log push",
        "git -C push status",
        "git --help",
    ),
    *("git remote -v", "git remote add push x", "git submodule status", "git stash push"),
    *("git -c push=1 status", "npm test", "npm install", "gh --version", "terraform validate"),
    *("docker build .", "git checkout push", "git config push.default simple"),
]


@pytest.mark.parametrize("words", AT_THE_DOOR)
def test_what_reaches_out(folder: Path, words: str) -> None:
    """Is ordered at the door."""
    assert run(folder, words) == "door"


@pytest.mark.parametrize("words", REAL_ONES)
def test_what_does_not(folder: Path, words: str) -> None:
    """Is the real program's."""
    assert run(folder, words) == "real"


def test_a_tool_that_is_not_there(folder: Path) -> None:
    """Is not found, but for what is ordered outside."""
    done = subprocess.run([folder / "helm", "lint"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (127, "helm: not found\n")


def test_where_they_are_mounted(tmp_path: Path) -> None:
    """Over programs of their own; before scripts, which may look round where they lie."""
    path = tmp_path / "bin"
    path.mkdir()
    (path / "git").write_bytes(b"\x7fELF...")
    (path / "git").chmod(0o755)
    (tmp_path / "npm-cli.js").write_text("#!/usr/bin/env node\n")
    (tmp_path / "npm-cli.js").chmod(0o755)
    (path / "npm").symlink_to(tmp_path / "npm-cli.js")
    overlays = made(tmp_path / "shims", path=str(path)).overlays
    assert overlays[str(path / "git")] == str(tmp_path / "shims/bin/git")
    assert overlays[f"{REAL}/git"] == str(path / "git")
    assert str(path / "npm") not in overlays
    assert overlays[SHIMS] == str(tmp_path / "shims/bin")
    assert set(tools()) == {file.name for file in (tmp_path / "shims/bin").iterdir()}
    assert f"exec {path / 'npm'}" in (tmp_path / "shims/bin/npm").read_text()
    assert all(Path(file).exists() for file in overlays.values())
