"""A clone made from a mirror by hand: hard links and a few small files, and no checkout.

Nobody hostile has been in the folder yet, so this is plain file work outside any box; it blocks,
and is for a thread. The files themselves come from the first checkout, inside.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from msgspec import Struct

from pandar_daemon.domain.repository import without_credentials
from pandar_daemon.services.mirrors import Mirror

_NOT_SHARED = frozenset({"alternates", "http-alternates"})
_PRIVATE = 0o700


class Plan(Struct, frozen=True, kw_only=True):
    """What a clone is to be: on ``branch``, new, at ``base``; ``linked`` or with a copy of all."""

    workspace: Path
    branch: str
    base: str
    linked: bool


def make_clone(mirror: Mirror, plan: Plan) -> list[int]:
    """Make ``.git`` in a folder; return the inodes it shares with the mirror.

    Raises ``OSError``.
    """
    git = plan.workspace / ".git"
    for folder in ("hooks", "info", "objects/info", "objects/pack", "refs/heads", "refs/tags"):
        (git / folder).mkdir(mode=_PRIVATE, parents=True)
    shared = _share(mirror.path / "objects", git / "objects", linked=plan.linked)
    (git / "packed-refs").write_bytes(_refs_of(mirror))
    head = git / "refs" / "heads" / plan.branch
    head.parent.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    head.write_text(f"{plan.base}\n")
    (git / "HEAD").write_text(f"ref: refs/heads/{plan.branch}\n")
    (git / "config").write_text(_config(mirror, plan))
    if (mirror.path / "shallow").is_file():
        shutil.copyfile(mirror.path / "shallow", git / "shallow")
    return shared


def shared_files(workspace: Path, shared: frozenset[int]) -> list[str]:
    """Return the files of a clone that are still the mirror's too, wherever in ``.git`` they went.

    Raises ``OSError`` when ``.git`` is not a folder any more.
    """
    git = workspace / ".git"
    if git.is_symlink() or not git.is_dir():
        raise NotADirectoryError(f"the clone was damaged: {git} is no folder")
    return [entry.path for entry in _files(str(git)) if _is_shared(entry, shared)]


def _is_shared(entry: os.DirEntry[str], shared: frozenset[int]) -> bool:
    return entry.inode() in shared and entry.stat(follow_symlinks=False).st_nlink > 1


def _files(folder: str) -> list[os.DirEntry[str]]:
    """Return all regular files below a folder, following no link."""
    found: list[os.DirEntry[str]] = []
    folders = [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    found.append(entry)
    return found


def _share(source: Path, target: Path, *, linked: bool) -> list[int]:
    shared: list[int] = []
    for entry in _files(str(source)):
        if entry.name in _NOT_SHARED or entry.name.startswith("tmp_"):
            continue
        place = target / Path(entry.path).relative_to(source)
        place.parent.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        if linked:
            os.link(entry.path, place, follow_symlinks=False)
            shared.append(entry.inode())
        else:
            shutil.copyfile(entry.path, place, follow_symlinks=False)
    return shared


def _refs_of(mirror: Mirror) -> bytes:
    lines = [
        f"{commit} ".encode() + ref.replace(b"refs/heads/", b"refs/remotes/origin/", 1) + b"\n"
        for ref, commit in sorted(mirror.refs.items())
    ]
    return b"".join(lines)


def _config(mirror: Mirror, plan: Plan) -> str:
    url = without_credentials(mirror.url).replace("\\", "\\\\").replace('"', '\\"')
    hashed = len(plan.base) == 64  # noqa: PLR2004 - SHA-256 in hex
    extension = "[extensions]\n\tobjectFormat = sha256\n" if hashed else ""
    return (
        f"[core]\n\trepositoryFormatVersion = {int(hashed)}\n\tfileMode = true\n\tbare = false\n"
        f"\tlogAllRefUpdates = true\n{extension}"
        f'[remote "origin"]\n\turl = "{url}"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n'
    )
