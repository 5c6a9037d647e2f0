"""Mirrors: one bare copy of each repository, which the clones of tasks share objects with.

A mirror is fetched under its lock, so that tasks given together fetch once: who asks is content
with any fetch that began after the task was given. Objects stay in packs, which never change once
they are there; a clone hard-links them, and an agent's box shows it those links read-only.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import structlog
from msgspec import Struct

from pandar_daemon.domain.repository import local_path, scheme_of, url_fault, without_credentials
from pandar_daemon.ports import Clock
from pandar_daemon.services.errand import Told
from pandar_daemon.services.git import Call, Git, Unprepared, complaint
from pandar_daemon.services.git_access import Admission

log = structlog.get_logger(__name__)

FETCH_SEC: Final = 1_800.0
"""What a clone or a fetch may take; one that stalls for a minute fails before."""
PACKS_MAX: Final = 20
"""With more packs than this a mirror is packed anew: every clone links each of them."""
_LOCK_PAUSE_SEC: Final = 0.05
_REFSPECS: Final = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")


class NoBranch(Unprepared):
    """The repository has no such branch, or no commit at all."""


class Mirror(Struct, frozen=True, kw_only=True):
    """A repository as it was fetched: its branches and tags, and the branch it names itself."""

    path: Path
    url: str
    refs: dict[bytes, str]
    default: str = ""

    def tip(self, branch: str) -> str:
        """Return the commit a branch is at; raises `NoBranch`."""
        name = branch or self.default
        found = self.refs.get(b"refs/heads/" + name.encode()) if name else None
        if found is not None:
            return found
        shown = without_credentials(self.url)
        if name:
            raise NoBranch(f"the repository {shown} has no branch {name}")
        what = "names no branch of its own: give the project a base branch"
        empty = "has no commit yet: there is nothing to begin at"
        raise NoBranch(f"the repository {shown} {what if self.refs else empty}")


class Mirrors:
    """The mirrors of one runner, under ``mirrors`` in its data directory."""

    def __init__(self, data: Path, git: Git, clock: Clock) -> None:
        self._folder = data / "mirrors"
        self._git = git
        self._clock = clock
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._fetched: dict[tuple[str, int], tuple[float, Mirror]] = {}

    @asynccontextmanager
    async def held(
        self, url: str, project_id: int, *, since: float, admission: Admission | None = None
    ) -> AsyncIterator[Mirror]:
        """Yield the mirror of a repository, fetched after ``since``; nobody changes it meanwhile.

        What one project could fetch says nothing of another, which may have no right to: each
        fetches for itself. Raises `Unprepared`.
        """
        if url_fault(url):
            raise Unprepared(f"the project's repository cannot be used: it is {url_fault(url)}")
        name = hashlib.sha256(url.encode()).hexdigest()[:32]
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with self._turns[name], _locked(self._folder / f"{name}.lock"):
            path = self._folder / f"{name}.git"
            _touch(path)
            began, mirror = self._fetched.get((name, project_id), (-1.0, None))
            if mirror is None or began < since or not path.is_dir():
                began = self._clock.boottime()
                mirror = await self._fetch(path, url, admission or Admission())
                self._fetched[name, project_id] = began, mirror
            _touch(path)
            yield mirror

    def objects(self, url: str) -> str:
        """Return the folder of what is at hand of a repository; empty when nothing is."""
        name = hashlib.sha256(url.encode()).hexdigest()[:32]
        folder = self._folder / f"{name}.git" / "objects"
        return str(folder) if folder.is_dir() else ""

    async def contains(self, mirror: Mirror, commit: str, tip: str) -> bool:
        """Return whether a commit is part of the history that ends at another."""
        call = Call(argv=("git", "merge-base", "--is-ancestor", commit, tip), cwd=str(mirror.path))
        return (await self._git.run(call)).exit_code == 0

    async def _fetch(self, path: Path, url: str, admission: Admission) -> Mirror:
        if await asyncio.to_thread(path.is_dir):
            await self._update(path, url, admission)
        else:
            await self._clone(path, url, admission)
        return Mirror(
            path=path,
            url=url,
            refs=await self._refs(path),
            default=await self._default(path, url, admission),
        )

    async def _clone(self, path: Path, url: str, admission: Admission) -> None:
        fresh = path.with_suffix(".new")
        await asyncio.to_thread(shutil.rmtree, fresh, ignore_errors=True)
        argv = ("git", "clone", "--quiet", "--bare", "--no-local", "--template=", "--")
        call = _remote(url, admission, (*argv, _source(url), str(fresh)), str(self._folder))
        told = await self._git.run(call)
        if told.exit_code != 0:
            await asyncio.to_thread(shutil.rmtree, fresh, ignore_errors=True)
            raise _refused("cloned", url, told)
        fresh.rename(path)

    async def _update(self, path: Path, url: str, admission: Admission) -> None:
        argv = ("git", "fetch", "--quiet", "--prune", "--no-write-fetch-head", "--force", "--")
        call = _remote(url, admission, (*argv, _source(url), *_REFSPECS), str(path))
        told = await self._git.run(call)
        if told.exit_code != 0:
            raise _refused("fetched", url, told)
        if await asyncio.to_thread(_packs, path) > PACKS_MAX:
            repack = ("git", "repack", "-a", "-d", "-q")
            repacked = await self._git.run(Call(argv=repack, cwd=str(path), within_sec=FETCH_SEC))
            log.info("mirror.repacked", mirror=path.name, exit_code=repacked.exit_code)

    async def _refs(self, path: Path) -> dict[bytes, str]:
        form = "--format=%(objectname) %(refname)"
        told = await self._git.run(
            Call(argv=("git", "for-each-ref", form, "refs/heads", "refs/tags"), cwd=str(path))
        )
        pairs = (line.partition(b" ") for line in told.output.splitlines())
        return {ref: commit.decode() for commit, _, ref in pairs}

    async def _default(self, path: Path, url: str, admission: Admission) -> str:
        """Return the branch the repository itself names, empty for none."""
        argv = ("git", "ls-remote", "--symref", "--", _source(url), "HEAD")
        told = await self._git.run(_remote(url, admission, argv, str(path)))
        for line in told.output.decode(errors="replace").splitlines():
            if line.startswith("ref: refs/heads/") and line.endswith("\tHEAD"):
                return line.removeprefix("ref: refs/heads/").removesuffix("\tHEAD")
        return ""


def _touch(path: Path) -> None:
    """Note that it is used: what nobody used for long is removed."""
    with suppress(FileNotFoundError):
        os.utime(path)


def _packs(path: Path) -> int:
    return len(list(path.glob("objects/pack/*.pack")))


def _source(url: str) -> str:
    return local_path(url) or without_credentials(url)


def _remote(url: str, admission: Admission, argv: tuple[str, ...], cwd: str) -> Call:
    """Return a call that may speak with one repository, in its own way only."""
    return Call(
        argv=argv,
        cwd=cwd,
        environment={"GIT_SSH_COMMAND": _SSH, **admission.environment},
        settings=admission.settings,
        protocol=scheme_of(url),
        within_sec=FETCH_SEC,
    )


_SSH: Final = (
    "ssh -F /dev/null -o BatchMode=yes -o IdentitiesOnly=yes -o IdentityFile=none"
    " -o StrictHostKeyChecking=accept-new -o ConnectTimeout=20 -o ServerAliveInterval=15"
)
"""The runner's own keys are not the project's: without a credential there is none."""


_ADMITTED: Final = "give the project a secret for git"
_HINTS: Final = {
    "could not read Username": _ADMITTED,
    "Authentication failed": _ADMITTED,
    "Permission denied (publickey": _ADMITTED,
    "dubious ownership": "it belongs to another user than Pandar's, who could have it run programs",
}


def _refused(done: str, url: str, told: Told) -> Unprepared:
    why = complaint(told)
    hints = [f" ({hint})" for said, hint in _HINTS.items() if said in why]
    shown = without_credentials(url)
    return Unprepared(f"the repository {shown} cannot be {done}: {why}{''.join(hints)}")


@asynccontextmanager
async def _locked(file: Path) -> AsyncIterator[None]:
    """Hold a lock other processes see too."""
    with file.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(_LOCK_PAUSE_SEC)
        yield
