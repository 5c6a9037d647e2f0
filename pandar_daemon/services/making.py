"""Making the folder of one task, in steps that each leave it unfinished or whole."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

import structlog
from msgspec import Struct

from events.confinement import Level
from events.running import Assignment, Repository
from pandar_daemon.domain.repository import local_path, task_branch
from pandar_daemon.ports import Folders
from pandar_daemon.services.clone import Plan, make_clone, shared_files
from pandar_daemon.services.enclosing import Enclose, Reach
from pandar_daemon.services.git import Call, Git, Unprepared, complaint
from pandar_daemon.services.git_access import Admission
from pandar_daemon.services.included import copy_included
from pandar_daemon.services.mirrors import Mirror, Mirrors, NoBranch
from pandar_daemon.services.originals import included_in
from pandar_daemon.services.tree_environment import environment_of
from pandar_daemon.services.tree_records import Kept, Records

log = structlog.get_logger(__name__)

CHECKOUT_SEC: Final = 600.0
_NEVER: Final = datetime.fromtimestamp(0, UTC)
_CLEARED_MAX: Final = 5_000
_CLEARINGS: Final = 20
"""Times so many entries are removed at once; what is left then goes later."""
_CHECK_OUT: Final = 'git reset --quiet --hard && cp .git/index "$0/index"'
"""The index is kept for `checkpoints`: what is not touched need not be read again."""


class Tree(Struct, frozen=True, kw_only=True):
    """A folder that is ready; without ``branch`` it is no clone.

    ``protected`` are files in it that may only be read: git's settings and hooks, and what the
    mirror and other clones have too. ``environment`` is for what runs in it, ``setup`` is still to
    be run. ``scratch`` is room for our own git, there for a clone alone.
    """

    path: str
    scratch: str
    branch: str = ""
    base: str = ""
    protected: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}
    setup: str = ""


class Places(Struct, frozen=True, kw_only=True):
    """Where folders are made, and with what."""

    workspaces: Path
    records: Records
    git: Git
    mirrors: Mirrors
    folders: Folders


class Making:
    """One task's folder, being made for one execution."""

    def __init__(
        self,
        places: Places,
        assignment: Assignment,
        enclose: Enclose,
        *,
        since: float,
        admission: Admission | None = None,
    ) -> None:
        self._places = places
        self._assignment = assignment
        self._task = assignment.task_id
        self._enclose = enclose
        self._since = since
        self._admission = admission
        self.workspace = made_folder(places.workspaces / f"task-{self._task}")

    def plain(self) -> Tree:
        """Return the folder as it is."""
        return self._tree(Kept())

    async def go_on(self, kept: Kept) -> Tree:
        """Go on in the clone of an earlier attempt, unless what it began at is gone."""
        repository = self._assignment.repository
        same = repository is not None and repository.url == kept.url
        if repository is not None and same and self._assignment.resume is None:
            await self._check_base(repository, kept)
        made_folder(self._scratch)
        return self._tree(kept, await asyncio.to_thread(self._protected, kept))

    async def clone(self, repository: Repository) -> Tree:
        """Make a clone on a branch of the task's own; raises ``OSError``, leaving no files."""
        await self._begin_anew()
        reach = Reach(folder=str(self._scratch), home=str(self._scratch))
        names = await included_in(repository, self._places.git, reach, self._enclose)
        kept = await self._link(repository)
        try:
            await self._include(repository, names)
            protected = await asyncio.to_thread(self._protected, kept)
            await self._check_out(protected)
        except OSError:
            await self._begin_anew()  # what fills the disk must not stay
            raise
        self._places.records.keep(self._task, kept)
        return self._tree(kept, protected)

    @cached_property
    def _scratch(self) -> Path:
        return self._places.records.folder.resolve() / f"task-{self._task}"

    async def _check_base(self, repository: Repository, kept: Kept) -> None:
        """Raise `Unprepared` when the base branch is gone, or has another history now."""
        name = repository.base_branch or kept.base_branch
        try:
            async with self._held(repository) as mirror:
                tip = mirror.tip(name)
                if await self._places.mirrors.contains(mirror, kept.base, tip):
                    return
        except NoBranch:
            raise
        except Unprepared as error:  # what was made needs no repository to go on
            log.warning("tree.unchecked", task=self._task, error=str(error))
            return
        raise Unprepared(
            f"branch {name} was rewritten: it no longer has {kept.base[:12]}, where this task"
            f" began {kept.branch}; file the task anew to begin at {tip[:12]}"
        )

    def _held(self, repository: Repository) -> AbstractAsyncContextManager[Mirror]:
        return self._places.mirrors.held(
            repository.url,
            self._assignment.project_id,
            since=self._since,
            admission=self._admission,
        )

    async def _begin_anew(self) -> None:
        """Leave nothing of what was begun; raises ``OSError`` when something is in the way."""
        left = await asyncio.to_thread(self._places.folders.discard, [self._task])
        if left:
            raise OSError(f"cannot be moved out of the way: {', '.join(left)}")
        for folder in (self.workspace, self._scratch):
            made_folder(folder)
        self._places.records.keep(self._task, Kept())
        await self._clear()

    async def _clear(self) -> None:
        for _ in range(_CLEARINGS):
            cleared = await asyncio.to_thread(
                self._places.folders.clear, unused_since=_NEVER, limit=_CLEARED_MAX
            )
            if not cleared.more:
                return

    async def _link(self, repository: Repository) -> Kept:
        async with self._held(repository) as mirror:
            name = repository.base_branch or mirror.default
            plan = Plan(
                workspace=self.workspace,
                branch=task_branch(self._task, self._assignment.name),
                base=mirror.tip(name),
                linked=self._assignment.confines.level is Level.BWRAP,
            )
            shared = await asyncio.to_thread(make_clone, mirror, plan)
        return Kept(
            url=repository.url,
            branch=plan.branch,
            base_branch=name,
            base=plan.base,
            shared=frozenset(shared),
            ready=True,
        )

    async def _include(self, repository: Repository, names: list[bytes]) -> None:
        if not names:
            return
        source = Path(local_path(repository.url))
        limit_mb = self._assignment.confines.limits.disk_mb
        copied = await asyncio.to_thread(
            copy_included, source, self.workspace, names, limit_mb=limit_mb
        )
        log.info("tree.included", task=self._task, files=copied)

    async def _check_out(self, protected: tuple[str, ...]) -> None:
        """Make the files, in a box: what they are is for whoever wrote them to say."""
        folder, scratch = str(self.workspace), str(self._scratch)
        reach = Reach(folder=folder, home=scratch, protected=protected)
        call = Call(
            argv=("sh", "-c", _CHECK_OUT, scratch),
            cwd=folder,
            environment={"GIT_DIR": f"{folder}/.git", "GIT_WORK_TREE": folder},
            box=self._enclose(reach),
            within_sec=CHECKOUT_SEC,
        )
        told = await self._places.git.run(call)
        if told.exit_code != 0:
            raise Unprepared(f"its files cannot be checked out: {complaint(told)}")

    def _protected(self, kept: Kept) -> tuple[str, ...]:
        if not kept.branch:
            return ()
        git = f"{self.workspace}/.git"
        return (f"{git}/config", f"{git}/hooks", *shared_files(self.workspace, kept.shared))

    def _tree(self, kept: Kept, protected: tuple[str, ...] = ()) -> Tree:
        repository = self._assignment.repository
        pending = kept.branch and not kept.set_up and repository is not None
        return Tree(
            path=str(self.workspace),
            scratch=str(self._scratch) if kept.branch else "",
            branch=kept.branch,
            base=kept.base,
            protected=protected,
            environment=environment_of(self._task, clone=bool(kept.branch)),
            setup=repository.setup if repository is not None and pending else "",
        )


def made_folder(wanted: Path) -> Path:
    """Return the path, without links, of a folder of ours, made unless it is there already.

    Raises ``OSError`` when it cannot be made.
    """
    return made_within(_without_links(wanted.parent), wanted.name)


def made_within(parent: Path, name: str) -> Path:
    """Do the same, in a folder whose path has no links."""
    path = parent / name
    try:
        path.mkdir(mode=0o700)
    except FileNotFoundError:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        if not path.is_dir():
            raise
        return path.resolve()
    else:
        return path
    return made_within(parent, name)


@lru_cache(maxsize=64)
def _without_links(folder: Path) -> Path:
    """Return the path of one of the few folders of a data directory, which stay where they are."""
    return folder.resolve()
