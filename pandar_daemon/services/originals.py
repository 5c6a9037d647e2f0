"""A repository on this machine that people work in: what a clone of it would lack.

It is looked at in a box: its settings are its owner's, and may name programs git is to run.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from msgspec import structs

from events.running import Repository
from pandar_daemon.domain.repository import local_path
from pandar_daemon.services.enclosing import Enclose, Reach
from pandar_daemon.services.errand import Told
from pandar_daemon.services.git import Call, Git, Unprepared, complaint
from pandar_daemon.services.included import FILE

LOOK_SEC: Final = 60.0
_SHOWN: Final = 10
_STATUS: Final = ("status", "--porcelain", "-z", "--untracked-files=all", "--ignore-submodules=all")
_LISTED: Final = ("ls-files", "-z", "--others", "--ignored", f"--exclude-from={FILE}")


async def included_in(
    repository: Repository, git: Git, reach: Reach, enclose: Enclose
) -> list[bytes]:
    """Return the untracked files of a local repository that go into a clone, by its own list.

    Raises `Unprepared` when it has changes a clone would not have; of one elsewhere, or without
    files of its own, there is nothing to say.
    """
    path = local_path(repository.url)
    folders = await asyncio.to_thread(_folders_of, path) if path else ()
    if not folders:
        return []

    async def ask(words: tuple[str, ...]) -> Told:
        box = enclose(structs.replace(reach, readable=folders))
        environment = {"GIT_DIR": f"{path}/.git", "GIT_WORK_TREE": path}
        argv = ("git", *words)
        return await git.run(
            Call(argv=argv, cwd=path, environment=environment, box=box, within_sec=LOOK_SEC)
        )

    told = await ask(_STATUS)
    if told.exit_code != 0:
        raise Unprepared(f"the repository {path} cannot be read: {complaint(told)}")
    wanted: set[bytes] = set()
    if await asyncio.to_thread((Path(path) / FILE).is_file):
        listed = (await ask(_LISTED)).output.split(b"\0")
        wanted = {name for name in listed if name and not name.endswith(b"/")}
    missing = [name for name in _changed(told.output) if name not in wanted]
    if missing:
        raise _dirty(path, missing)
    return sorted(wanted)


def _folders_of(path: str) -> tuple[str, ...]:
    """Return the folders its files and its history are in; nothing for one without files."""
    git = Path(path) / ".git"
    if git.is_file():  # a worktree of another repository
        named = git.read_text(errors="replace").removeprefix("gitdir:").strip()
        home = (Path(path) / named).resolve()
        return (path, str(home.parent.parent if home.parent.name == "worktrees" else home))
    return (path,) if git.is_dir() else ()


def _dirty(path: str, missing: list[bytes]) -> Unprepared:
    shown = ", ".join(ascii(each.decode(errors="replace"))[1:-1] for each in missing[:_SHOWN])
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    return Unprepared(
        f"the repository {path} has uncommitted changes, which the task would not have: commit or"
        f" stash them; ignore new files, or list them in {FILE}: {shown}{more}"
    )


def _changed(status: bytes) -> list[bytes]:
    """Return the paths ``git status --porcelain -z`` names; of a rename the new one."""
    found: list[bytes] = []
    entries = iter(status.split(b"\0"))
    for entry in entries:
        if entry:
            found.append(entry[3:])
        if entry[:1] in {b"R", b"C"}:
            next(entries, None)
    return found
