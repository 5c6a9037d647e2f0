"""How these tests are run as root and as an ordinary user, so that no attempt can do harm."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from events.confinement import Level
from tests.support.boxes import UNHELD

ORDINARY = 65_533
"""A user that has no account anywhere."""
_PRIVATE = """
set -e
mount -o remount,bind,ro /
mount --bind "$ARENA" "$ARENA"
mount -o remount,bind,rw "$ARENA"
exec "$@"
"""
_ROOT = Path(__file__).resolve().parents[2]


def users() -> list[str]:
    """Return as whom these tests can be run here."""
    if sys.platform != "linux" or UNHELD in os.environ:
        return []
    if os.geteuid() != 0:
        return ["user"]
    return ["root", *(["user"] if _ordinary_python() else [])]


@cache
def results(
    who: str,
    names: Sequence[str],
    program: str = "tests.isolation.arena",
    level: Level = Level.BWRAP,
) -> Mapping[str, Mapping[str, object]]:
    """Return what came of each of these, done as root or as an ordinary user."""
    with tempfile.TemporaryDirectory(prefix="pandar-arena-", ignore_cleanup_errors=True) as folder:
        done = run(who, ["-m", program, level, *names], Path(folder))
    lines = [json.loads(line) for line in done.splitlines() if line.startswith("{")]
    return {line["name"]: line for line in lines}


def run(who: str, arguments: Sequence[str], folder: Path) -> str:
    """Return what a program of ours prints: of root in a mount namespace of its own, or a user."""
    python, environment = sys.executable, {"ARENA": str(folder), "PATH": "/usr/bin:/bin"}
    ordinary = who == "user" and os.geteuid() == 0
    if ordinary:
        python = _ordinary_python() or ""
        os.chown(folder, ORDINARY, ORDINARY)
    environment["PYTHONPATH"] = os.pathsep.join([str(_ROOT), *_packages()])
    environment["HOME"] = str(folder)
    argv = [python, *arguments]
    if who == "root":
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _PRIVATE, "sh", *argv]
    done = subprocess.run(
        argv,
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        **({"user": ORDINARY, "group": ORDINARY, "extra_groups": []} if ordinary else {}),  # type: ignore[call-overload]
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return str(done.stdout)


def _packages() -> list[str]:
    return [path for path in sys.path if path.endswith("site-packages")]


@cache
def _ordinary_python() -> str | None:
    """Return a Python of our version that everybody may run, with our packages in their reach."""
    for path in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        reachable = all(_is_open(place) for place in (path, str(_ROOT), *_packages()))
        if reachable and _version(path) == _version(sys.executable):
            return path
    return None


def _is_open(path: str) -> bool:
    places = [Path(path), *Path(path).parents]
    return all(place.stat().st_mode & stat.S_IXOTH for place in places if place.exists())


def _version(python: str) -> str:
    if not Path(python).exists():
        return ""
    program = "import sys; print(sys.version_info[:2])"
    return subprocess.run(
        [python, "-c", program], capture_output=True, text=True, check=False
    ).stdout
