"""What a task changed: read from what git says of it, and told to people.

What git says comes from a folder an agent wrote in: nothing here trusts it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from events.task import Json
from pandar_daemon.domain.harmless import visible

FILES_MAX: Final = 2_000
"""Files that are told one by one."""
_NAME_MAX: Final = 200
_SKIPPED_MAX: Final = 20
_SKIP: Final = b"skip:"
_COUNT: Final = re.compile(rb"[0-9]{1,9}")
_COMMIT: Final = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_NUMBERS: Final = re.compile(rb"(-|[0-9]{1,15})\t(-|[0-9]{1,15})\t(.*)", re.DOTALL)


class FileChange(Struct, frozen=True, kw_only=True):
    """Lines that were added to, and removed from, one file; ``None`` where it holds no text."""

    path: str
    insertions: int | None = None
    deletions: int | None = None


class Changes(Struct, frozen=True, kw_only=True):
    """The files of a task as they are in ``commit``, against ``base``.

    ``commits`` of its own. ``files`` are told one by one as far as there is room; ``count`` counts
    all. ``skipped`` were left out of the commit.
    """

    commit: str
    base: str
    branch: str = ""
    commits: int = 0
    files: list[FileChange] = []
    count: int = 0
    insertions: int = 0
    deletions: int = 0
    skipped: list[str] = []
    patch_bytes: int = 0
    cut: bool = False


def read_changes(told: bytes) -> Changes | None:
    """Return what a checkpoint says of itself, ``None`` for anything else.

    It is texts that each end with NUL: commit, base, commits, branch, ``skip:`` and its name for
    each file that was skipped, then what ``git diff-tree --numstat -z`` writes.
    """
    tokens = iter(told.split(b"\0"))
    commit, base, commits, branch = (next(tokens, b"") for _ in range(4))
    if not _COMMIT.fullmatch(commit) or not _COMMIT.fullmatch(base):
        return None
    files: list[FileChange] = []
    skipped: list[str] = []
    for token in tokens:
        if token.startswith(_SKIP):
            skipped.append(_name(token.removeprefix(_SKIP)))
        elif found := _NUMBERS.fullmatch(token):
            files.append(_change(found, tokens))
    return Changes(
        commit=commit.decode(),
        base=base.decode(),
        branch=_name(branch),
        commits=int(commits) if _COUNT.fullmatch(commits) else 0,
        files=files[:FILES_MAX],
        count=len(files),
        insertions=sum(each.insertions or 0 for each in files),
        deletions=sum(each.deletions or 0 for each in files),
        skipped=skipped[:_SKIPPED_MAX],
    )


def _change(found: re.Match[bytes], tokens: Iterator[bytes]) -> FileChange:
    path = found[3]
    if not path:  # it was renamed: its old and its new name follow
        next(tokens, b"")
        path = next(tokens, b"")
    added, removed = _number(found[1]), _number(found[2])
    return FileChange(path=_name(path), insertions=added, deletions=removed)


def _number(text: bytes) -> int | None:
    return None if text == b"-" else int(text)


def _name(name: bytes) -> str:
    """Return a name as text, not without end; a byte that is no UTF-8 as its number in hex."""
    return name.decode("utf-8", "backslashreplace")[:_NAME_MAX]


def stat_text(changes: Changes) -> str:
    """Return a line for each file and a sum, every character harmless."""
    lines = [f"{_counts(each):>13}  {_line(each.path)}" for each in changes.files]
    if changes.count > len(changes.files):
        lines.append(f"… and {changes.count - len(changes.files)} more files")
    lines += [f"{'skipped':>13}  {_line(each)}" for each in changes.skipped]
    return "\n".join([*lines, summary(changes), ""])


def _line(name: str) -> str:
    return visible(name).replace("\n", "⟨U+000A⟩").replace("\t", "⟨U+0009⟩")


def summary(changes: Changes) -> str:
    """Return in one line how much was changed."""
    files = "1 file" if changes.count == 1 else f"{changes.count} files"
    commits = "1 commit" if changes.commits == 1 else f"{changes.commits} commits"
    return f"{files} changed, +{changes.insertions} -{changes.deletions}, {commits}"


def with_changes(card: Json, changes: Changes) -> Json:
    """Return a card that tells what its task has changed so far."""
    return {**card, "branch": visible(changes.branch), "changed": summary(changes)}


def _counts(change: FileChange) -> str:
    if change.insertions is None or change.deletions is None:
        return "binary"
    return f"+{change.insertions} -{change.deletions}"
