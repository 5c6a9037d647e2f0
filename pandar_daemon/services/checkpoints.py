"""Keeping the files of a task as they are: a commit on a hidden ref of its own clone.

All of it happens in a box, by our own index and in our own name: neither the agent's index nor its
branch nor its ``HEAD`` is touched. What git makes of the files there, and says, is not trusted.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct, structs

from pandar_daemon.domain.changes import Changes, read_changes
from pandar_daemon.ports import Box, Diff
from pandar_daemon.services.git import Call, Git, Unprepared, complaint
from pandar_daemon.services.making import Tree

KEEP_SEC: Final = 60.0
PATCH_MAX: Final = 8 * 2**20
"""Bytes of a patch that are kept; what is beyond is cut."""
FILE_MAX_KIB: Final = 50 * 1024
"""A larger file is left out, and said."""
SAME: Final = b"same\0"

_KEEP: Final = r"""
scratch=$1 base=$2 ref=$3 kib=$4 previous=$5
cd "$GIT_WORK_TREE" || exit 3
large() {
    find . -path ./.git -prune -o -type f -size +"${kib}k" -exec \
        sh -c 'form=$1; shift; for p; do printf "$form" "${p#./}"; done' - "$1" {} +
}
inner() {
    find . -path ./.git -prune -o -name .git -prune -exec \
        sh -c 'for p; do p=${p%/.git}; printf ":(top,exclude,literal)%s\0" "${p#./}"; done' - {} +
}
head=$(git rev-parse -q --verify 'HEAD^{commit}')
if [ -n "$head" ]; then
    git read-tree -m "$head" || { rm -f "$GIT_INDEX_FILE"; git read-tree "$head" || exit 4; }
else
    git read-tree --empty || exit 4
fi
{ printf ':(top)\0'; large ':(top,exclude,literal)%s\0'; inner; } >"$scratch/paths"
git add -A --ignore-errors --pathspec-from-file="$scratch/paths" --pathspec-file-nul
tree=$(git write-tree) || exit 5
if [ -n "$previous" ] && [ "$(git rev-parse -q --verify "$previous^{tree}")" = "$tree" ] &&
    [ "$(git rev-parse -q --verify "$previous^1")" = "$head" ]; then
    printf 'same\0'
    exit 0
fi
commit=$(git commit-tree "$tree" ${head:+-p "$head"} -m "Checkpoint of a task's files") || exit 6
git update-ref "$ref" "$commit" || exit 7
from=$base ahead=0
if [ -n "$head" ]; then
    from=$(git merge-base "$base" "$head") || from=$base
    ahead=$(git rev-list --count "$from..$head")
fi
printf '%s\0' "$commit" "$from" "$ahead" "$(git symbolic-ref -q --short HEAD)"
large 'skip:%s\0' | head -c 20000
printf '\0'
git diff-tree -r -z --numstat -M --no-ext-diff --no-textconv "$from" "$commit"
"""


class Point(Struct, frozen=True, kw_only=True):
    """One to be made under ``ref``; ``previous`` is the commit of the one before, if any."""

    tree: Tree
    box: Box | None
    ref: str
    previous: str = ""


async def keep(git: Git, point: Point) -> Diff | None:
    """Keep the files, and return what was changed; ``None`` when they are as they were before.

    Raises ``OSError`` when it cannot be done.
    """
    told = await git.run(_call(point, ("sh", "-c", _KEEP, "keep", *_words(point)), 2**24))
    if told.output == SAME:
        return None
    changes = read_changes(told.output)
    if told.exit_code != 0 or changes is None:
        raise Unprepared(f"its files cannot be kept: {complaint(told)}")
    return await _with_patch(git, point, changes)


async def _with_patch(git: Git, point: Point, changes: Changes) -> Diff:
    argv = ("git", "diff-tree", "-r", "-p", "-M", "--full-index", "--no-color", "--no-ext-diff",
            "--no-textconv", changes.base, changes.commit)  # fmt: skip
    told = await git.run(_call(point, argv, PATCH_MAX))
    patch = told.output[: told.output.rfind(b"\n") + 1] if told.cut else told.output
    cut = told.cut or told.exit_code != 0
    return Diff(changes=structs.replace(changes, patch_bytes=len(patch), cut=cut), patch=patch)


def _words(point: Point) -> tuple[str, ...]:
    tree = point.tree
    return (tree.scratch, tree.base, point.ref, str(FILE_MAX_KIB), point.previous)


def _call(point: Point, argv: tuple[str, ...], limit: int) -> Call:
    tree = point.tree
    return Call(
        argv=argv,
        cwd=tree.path,
        environment={
            "GIT_DIR": f"{tree.path}/.git",
            "GIT_WORK_TREE": tree.path,
            "GIT_INDEX_FILE": f"{tree.scratch}/index",
        },
        box=point.box,
        within_sec=KEEP_SEC,
        limit=limit,
    )
