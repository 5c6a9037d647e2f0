"""Where what is to be pushed is looked at before it is: a bare repository of its own, outside.

What came out of a box is checked object by object as it is taken in, and is in nobody's way: the
folder goes when the push is over. Only `Quarantine.push` and the questions to the remote reach it,
each by a process of its own that alone has the project's credential.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from events.calls import SUBJECTS_MAX, RefMove
from pandar_daemon.domain.harmless import visible
from pandar_daemon.domain.push import NotPushed
from pandar_daemon.domain.push_plan import Wanted, is_protected
from pandar_daemon.ports import Box
from pandar_daemon.services.errand import Told
from pandar_daemon.services.git import Call, Git, complaint
from pandar_daemon.services.source import LISTED_MAX, PACK_MAX, SHA

REMOTE_SEC: Final = 300.0
"""What talking with a remote may take."""
_SUBJECT_MAX: Final = 150
_FILES_MAX: Final = 2**20
_NONE: Final = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""The tree without files, as SHA-1."""
_ABOUT: Final = """\
new=$1; old=$2; base=$3
if [ -n "$old" ] && git merge-base --is-ancestor "$old" "$new" 2>/dev/null; then echo yes
else echo no; fi
git rev-list --count --ignore-missing --stdin < known || exit
git log --no-show-signature --format==%s --max-count=10 --ignore-missing --stdin < known || exit
echo
from=${old:-$(git merge-base "$base" "$new" 2>/dev/null)}
git diff --no-ext-diff --no-textconv --name-only -z "${from:-$4}" "$new" --
"""


class Remote(Struct, frozen=True, kw_only=True):
    """Where a push goes: ``url``, and what one call of git needs to get in there."""

    url: str
    protocol: str
    environment: Mapping[str, str] = {}
    settings: Mapping[str, str] = {}


class Looked(Struct, frozen=True, kw_only=True):
    """What one reference would become, and the files that differ, some of them."""

    move: RefMove
    paths: tuple[str, ...] = ()


@asynccontextmanager
async def quarantine(
    git: Git, folder: Path, remote: Remote, *, objects: str = "", box: Box | None = None
) -> AsyncIterator[Quarantine]:
    """Yield a fresh one in ``folder``, which is removed; ``objects`` are at hand already.

    ``box`` confines whatever looks at what is in it.
    """
    made = Quarantine(git, folder, remote, box)
    try:
        await made.begin(objects)
        yield made
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


class Quarantine:
    """See `quarantine`."""

    def __init__(self, git: Git, folder: Path, remote: Remote, box: Box | None) -> None:
        self._git = git
        self._folder = folder
        self._remote = remote
        self._box = box
        self.default = ""
        """The branch the remote names its own; known with its references."""

    async def begin(self, objects: str) -> None:
        """Make it; raises ``OSError``."""
        self._folder.mkdir(mode=0o700, parents=True)
        await self._run(("git", "init", "-q", "--bare", "--template=", "."), "made")
        if objects:
            (self._folder / "objects" / "info" / "alternates").write_text(f"{objects}\n")

    async def references(self) -> dict[str, str]:
        """Return the branches and tags of the remote, as they are now; raises `NotPushed`."""
        wanted = ("HEAD", "refs/heads/*", "refs/tags/*")
        argv = ("git", "ls-remote", "--symref", "--", self._remote.url, *wanted)
        told = await self._git.run(self._outside(argv, limit=LISTED_MAX))
        if told.exit_code != 0 or told.cut:
            raise NotPushed(f"the remote cannot be reached: {complaint(told)}")
        lines = told.output.decode(errors="replace").split("\n")
        pairs = [line.partition("\t") for line in lines]
        head = (said for said, _, ref in pairs if ref == "HEAD" and said.startswith("ref: "))
        self.default = next(head, "").removeprefix("ref: refs/heads/")
        plain = {ref: sha for sha, _, ref in pairs if SHA.fullmatch(sha)}
        return {ref: sha for ref, sha in plain.items() if ref != "HEAD" and ref[-3:] != "^{}"}

    async def take(self, pack: bytes) -> None:
        """Take in a pack, if every object of it is sound, and all they name is there."""
        argv = ("git", "index-pack", "--strict", "--stdin", f"--max-input-size={PACK_MAX}")
        await self._run(argv, "taken", given=pack)

    async def fetch(self, known: Mapping[str, str], refs: Sequence[str]) -> list[str]:
        """Get what these references of the remote are at; return all of ``known`` at hand then."""
        hand = await self._at_hand(known)
        missing = [ref for ref in refs if ref in known and known[ref] not in hand]
        if not missing:
            return sorted(hand)
        specs = [f"+{ref}:refs/pandar/{n}" for n, ref in enumerate(missing)]
        argv = ("git", "fetch", "-q", "--no-tags", "--no-write-fetch-head", "--", self._remote.url)
        told = await self._git.run(self._outside((*argv, *specs)))
        if told.exit_code != 0:
            raise NotPushed(f"the remote cannot be read: {complaint(told)}")
        return sorted(await self._at_hand(known))

    async def _at_hand(self, known: Mapping[str, str]) -> set[str]:
        given = "".join(f"{sha}\n" for sha in known.values())
        argv = ("git", "cat-file", "--batch-check=%(objectname)")
        told = await self._run(argv, "read", given=given.encode(), limit=LISTED_MAX)
        lines = told.output.decode(errors="replace").splitlines()
        return {line for line in lines if SHA.fullmatch(line)}

    async def look(
        self, wanted: Wanted, known: Mapping[str, str], *, own: str, protected: Sequence[str]
    ) -> Looked:
        """Find out what moving a reference would do; ``known`` is what the remote has.

        ``own`` is the branch of the task, ``protected`` patterns of branches, the first of which is
        what the task began at.
        """
        ref = wanted.ref
        plain = RefMove(
            ref=ref,
            old=wanted.old,
            new=wanted.new,
            own=bool(own) and ref == f"refs/heads/{own}",
            protected=is_protected(ref, protected),
        )
        if not wanted.new:
            return Looked(move=plain)
        lines = [f"^{sha}" for sha in known.values()]
        (self._folder / "known").write_text("\n".join([wanted.new, *lines, ""]))
        base = known.get(f"refs/heads/{protected[0]}", "") if protected else ""
        script = ("sh", "-c", _ABOUT, "sh", wanted.new, wanted.old, base, _NONE)
        told = await self._run(script, "looked at", limit=_FILES_MAX)
        return _looked(plain, told)

    async def push(self, moves: Sequence[RefMove], options: Sequence[str]) -> Told:
        """Move these references, each from where it was seen to be, and no other."""
        leases = [f"--force-with-lease={move.ref}:{move.old}" for move in moves]
        given = [word for option in options for word in ("-o", option)]
        specs = [f"{move.new}:{move.ref}" for move in moves]
        argv = ("git", "push", "--porcelain", "--no-progress", "--no-verify", "--no-signed")
        words = (*argv, *leases, *given, "--", self._remote.url, *specs)
        return await self._git.run(self._outside(words))

    async def _run(
        self, argv: tuple[str, ...], done: str, *, given: bytes = b"", limit: int = 2**20
    ) -> Told:
        call = Call(
            argv=argv,
            cwd=str(self._folder),
            box=self._box,
            given=given,
            limit=limit,
            within_sec=REMOTE_SEC,
        )
        told = await self._git.run(call)
        if told.exit_code != 0 and not told.cut:
            raise NotPushed(f"this cannot be {done}: {complaint(told)}")
        return told

    def _outside(self, argv: tuple[str, ...], *, limit: int = 2**20) -> Call:
        remote = self._remote
        return Call(
            argv=argv,
            cwd=str(self._folder),
            environment=remote.environment,
            settings=remote.settings,
            protocol=remote.protocol,
            within_sec=REMOTE_SEC,
            limit=limit,
        )


def _looked(move: RefMove, told: Told) -> Looked:
    ancestor, count, rest = told.output.decode(errors="replace").split("\n", 2)
    subjects, _, names = f"\n{rest}".partition("\n\n")
    paths = [_shown(name)[:500] for name in names.split("\0") if name]
    found = RefMove(
        ref=move.ref,
        old=move.old,
        new=move.new,
        own=move.own,
        protected=move.protected,
        forced=bool(move.old) and ancestor != "yes",
        commits=int(count),
        files=len(paths),
        subjects=[_shown(each[1:])[:_SUBJECT_MAX] for each in subjects.split("\n") if each][
            :SUBJECTS_MAX
        ],
    )
    return Looked(move=found, paths=tuple(paths))


def _shown(text: str) -> str:
    return visible(text.replace("\n", " ").replace("\t", " "))
