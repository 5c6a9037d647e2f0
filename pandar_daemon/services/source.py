"""The repository a push comes from: looked at, and taken from, inside the box.

Whatever it says is the word of who may be hostile: names and numbers, of which what counts is found
out again outside.
"""

from __future__ import annotations

import re
from typing import Final

from pandar_daemon.domain.push import NotPushed, Push
from pandar_daemon.domain.push_plan import Local, names_in
from pandar_daemon.ports import Box
from pandar_daemon.services.git import Call, Git, complaint

PACK_MAX: Final = 2**27
"""Bytes of commits one push may carry."""
LISTED_MAX: Final = 2**22
"""Bytes of names of references that are read."""
PACK_SEC: Final = 300.0
SHA: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LOOK: Final = """\
name=$1; shift
if [ -z "$name" ]; then name=$(git config --get "branch.$1.remote" || echo origin); fi
shift
git remote get-url --push -- "$name" 2>/dev/null || printf '%s\\n' "$name"
git symbolic-ref -q HEAD || echo
git for-each-ref --format='%(objectname) %(refname)' refs/heads refs/tags || exit
echo
for word do git rev-parse -q --verify --end-of-options "$word" 2>/dev/null || echo; done
"""
_PACK: Final = """\
git rev-list --objects --ignore-missing --stdin > "$1" || exit
git pack-objects -q --delta-base-offset --stdout < "$1"
"""


class Source:
    """The repository of one push, in the folder ``cwd`` of a box."""

    def __init__(self, git: Git, box: Box | None, cwd: str, push: Push) -> None:
        self._git = git
        self._box = box
        self._cwd = cwd
        self._push = push
        self.url = ""
        """Where it is to go, as the repository has it; known once it was looked at."""

    async def look(self, own: str) -> Local:
        """Return what it has; raises `NotPushed`, or ``OSError`` when nothing can run there."""
        words = names_in(self._push)
        script = ("sh", "-c", _LOOK, "sh", self._push.repository, own, *words)
        told = await self._git.run(self._call(script, limit=LISTED_MAX))
        if told.exit_code != 0 or told.cut:
            why = "it has too many references" if told.cut else complaint(told)
            raise NotPushed(f"the repository cannot be read: {why}")
        lines = told.output.decode(errors="replace").split("\n")
        self.url, head, *rest = lines
        blank = rest.index("")
        pairs = [line.partition(" ") for line in rest[:blank]]
        refs = {ref: sha for sha, _, ref in pairs if SHA.fullmatch(sha)}
        return Local(head=head, refs=refs, named=dict(zip(words, rest[blank + 1 :], strict=False)))

    async def pack(self, wanted: list[str], known: list[str]) -> bytes:
        """Return a pack of all that makes up the wanted objects, but for what is known."""
        given = "".join([*(f"{sha}\n" for sha in wanted), *(f"^{sha}\n" for sha in known)])
        file = "$(mktemp)"
        script = ("sh", "-c", f'set -- "{file}"\n{_PACK}rm -f "$1"', "sh")
        call = self._call(script, given=given.encode(), limit=PACK_MAX, within_sec=PACK_SEC)
        told = await self._git.run(call)
        if told.cut:
            raise NotPushed(f"this is more than {PACK_MAX >> 20} MiB of commits; push less at once")
        if told.exit_code != 0:
            raise NotPushed(f"the commits cannot be read: {complaint(told)}")
        return told.output

    async def moved(self, refs: dict[str, str]) -> None:
        """Let it know what the remote has now, as git does after a push."""
        given = "".join(
            f"update {ref.replace('refs/heads/', 'refs/remotes/origin/', 1)} {sha}\n"
            for ref, sha in refs.items()
            if ref.startswith("refs/heads/") and sha
        )
        if given:
            argv = ("git", "update-ref", "--stdin")
            await self._git.run(self._call(argv, given=given.encode()))

    def _call(
        self,
        argv: tuple[str, ...],
        *,
        given: bytes = b"",
        limit: int = 2**16,
        within_sec: float = 60,
    ) -> Call:
        places = {"GIT_DIR": self._push.git_dir, "GIT_WORK_TREE": self._push.work_tree}
        return Call(
            argv=argv,
            cwd=self._cwd,
            environment={name: place for name, place in places.items() if place},
            box=self._box,
            given=given,
            limit=limit,
            within_sec=within_sec,
        )
