"""Puts the pinned agent CLIs, which are npm packages, where `registry` looks for them.

Each agent has a folder of its own with a lock of its own: exact versions, checked by hash, from
whatever registry npm is set up to use. Their install scripts are not run; none is needed.
"""

from __future__ import annotations

import shutil
import subprocess
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from pandar_daemon.adapters.agents.profiles import PROFILES

INSTALL_SEC: Final = 900.0
_LOCK: Final = ("package.json", "package-lock.json")
_NPM: Final = ("ci", "--ignore-scripts", "--no-audit", "--no-fund")


class _Package(Struct, frozen=True):
    version: str = ""
    dependencies: dict[str, str] = {}


def pinned(name: str) -> str:
    """Return the version of an agent's package this release is made for."""
    text = files(__package__).joinpath("packages", name, "package.json").read_bytes()
    return msgspec.json.decode(text, type=_Package).dependencies[PROFILES[name].package]


def installed(packages: Path, name: str) -> str | None:
    """Return the version that is installed, ``None`` when it is not."""
    manifest = packages / name / "node_modules" / PROFILES[name].package / "package.json"
    try:
        return msgspec.json.decode(manifest.read_bytes(), type=_Package).version
    except (OSError, msgspec.MsgspecError):
        return None


def install(packages: Path, name: str, *, npm: str | None = None) -> str:
    """Install an agent and return its version; all of it, or nothing of it.

    What was there is replaced. Raises ``OSError`` that says what to do.
    """
    program = npm or shutil.which("npm")
    if program is None:
        raise FileNotFoundError("there is no npm: install Node.js 20 or later, with npm")
    packages.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh, old = packages / f".{name}.new", packages / f".{name}.old"
    for left in (fresh, old):
        shutil.rmtree(left, ignore_errors=True)
    try:
        _fill(fresh, name, program)
        target = packages / name
        if target.exists():
            target.rename(old)
        fresh.rename(target)
    finally:
        for left in (fresh, old):
            shutil.rmtree(left, ignore_errors=True)
    return pinned(name)


def _fill(folder: Path, name: str, npm: str) -> None:
    folder.mkdir(mode=0o700)
    with as_file(files(__package__).joinpath("packages", name)) as source:
        for file in _LOCK:
            shutil.copyfile(source / file, folder / file)
    _run([npm, *_NPM], folder)


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - npm, as found or named by its owner
            command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SEC, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"npm did not end within {INSTALL_SEC:.0f} s") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "npm warn" not in line.lower()]
        last = " ".join(said[-3:]) or f"exit code {done.returncode}"
        raise OSError(f"npm could not install it: {last}")


def chosen(names: tuple[str, ...]) -> list[str]:
    """Return the agents that are meant, all when none is named.

    Raises ``ValueError`` for one that is no npm package.
    """
    unknown = [name for name in names if name not in PROFILES]
    if unknown:
        raise ValueError(f"{unknown[0]} cannot be installed; there are {', '.join(PROFILES)}")
    return list(names or PROFILES)
