"""The folder of one execution: made ready before anything runs in it, kept at its stops."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
from msgspec import structs

from events.running import Assignment, RecordCheckpoint
from pandar_daemon.domain.changes import Changes
from pandar_daemon.domain.redaction import Redactor
from pandar_daemon.domain.refusals import Refusal, Unavailable
from pandar_daemon.domain.repository import local_path, url_fault
from pandar_daemon.ports import Box, Diff, DiffKey, Diffs
from pandar_daemon.services.checkpoints import KEEP_SEC, Point, keep
from pandar_daemon.services.confines import box_of
from pandar_daemon.services.enclosing import Reach
from pandar_daemon.services.git import Unprepared
from pandar_daemon.services.git_access import Admission, GitAccess
from pandar_daemon.services.line import Line
from pandar_daemon.services.making import Tree
from pandar_daemon.services.means import Means
from pandar_daemon.services.pauses import pauses
from pandar_daemon.services.secrets import Secrets
from pandar_daemon.services.setup import see_through
from pandar_daemon.services.unattended import unattended
from pandar_daemon.services.workspace import command_spec

log = structlog.get_logger(__name__)

REFS = "refs/pandar/checkpoints"
STORE_SEC = 10.0
"""For how long the bus may be away before a checkpoint is recorded without its patch."""


class Workplace:
    """One execution's."""

    def __init__(
        self,
        assignment: Assignment,
        means: Means,
        line: Line,
        show: Callable[[bytes], Awaitable[None]],
        redactor: Redactor,
    ) -> None:
        """Show by ``show`` what the project's setup writes; ``redactor`` knows the secrets."""
        self._assignment = assignment
        self._means = means
        self._show = show
        self._given_at = means.clock.boottime()
        self._line = line
        self._redactor = redactor
        self._making: asyncio.Task[Tree] | None = None
        self._tree: Tree | None = None
        self._turn = asyncio.Lock()
        self._number = 0
        self._changes: Changes | None = None

    async def ready(self) -> Tree:
        """Return the folder it is to run in; raises ``OSError``, also when it was given up."""
        if self._assignment.repository is None:  # nothing to wait for
            self._tree = await self._make()
            return self._tree
        self._making = asyncio.create_task(self._make())
        try:
            self._tree = await self._making
        except asyncio.CancelledError:
            if (current := asyncio.current_task()) is not None and current.cancelling():
                raise
            raise Unprepared("it was ended before it began") from None
        finally:
            self._making = None
        return self._tree

    async def keep(self, within_sec: float = KEEP_SEC) -> Changes | None:
        """Keep its files as they are, and return what was changed so far.

        ``None`` for what is no clone, and when it cannot be done, or not in time: no task fails
        for that.
        """
        if self._tree is None or not self._tree.branch or self._line.is_lost:
            return None
        async with self._turn:
            try:
                async with asyncio.timeout(within_sec):
                    await self._keep(self._tree)
            except (OSError, TimeoutError, Refusal) as error:
                log.warning("checkpoint.unkept", task=self._assignment.task_id, error=str(error))
        return self._changes

    async def _keep(self, tree: Tree) -> None:
        means, held = self._means, self._line.held
        checkpoint = f"{self._assignment.attempt}-{self._number + 1}"
        point = Point(
            tree=tree,
            box=self._enclose(Reach(folder=tree.path, home=tree.scratch, protected=tree.protected)),
            ref=f"{REFS}/{checkpoint}",
            previous=self._changes.commit if self._changes else "",
        )
        found = await keep(means.trees.git, point)
        if found is None:
            return
        diff = await asyncio.to_thread(_redacted, found, self._redactor)
        self._number += 1
        key = DiffKey(
            project_id=self._assignment.project_id, task_id=held.task_id, checkpoint=checkpoint
        )
        stored = await _stored(means.diffs, key, diff)
        self._changes = changes = diff.changes
        record = RecordCheckpoint(
            task_id=held.task_id,
            execution_id=held.execution_id,
            epoch=held.epoch,
            ref=point.ref,
            commit=changes.commit,
            base=changes.base,
            branch=changes.branch,
            commits=changes.commits,
            files=changes.count,
            insertions=changes.insertions,
            deletions=changes.deletions,
            patch_bytes=changes.patch_bytes if stored else 0,
            cut=changes.cut,
            skipped=list(changes.skipped),
        )
        await self._line.insist("checkpoint", record)

    def give_up(self) -> None:
        """Make no more ready what is not to be started any more."""
        if self._making is not None:
            self._making.cancel()

    async def _make(self) -> Tree:
        means, assignment = self._means, self._assignment
        async with self._admitted() as admission:
            tree = await means.trees.ready(
                assignment, self._enclose, since=self._given_at, admission=admission
            )
        if tree.setup:
            await self._set_up(tree)
            means.trees.was_set_up(assignment.task_id)
        return tree

    @asynccontextmanager
    async def _admitted(self) -> AsyncIterator[Admission]:
        """Yield what the repository is reached with, for as long as that takes."""
        repository, means = self._assignment.repository, self._means
        if repository is None or local_path(repository.url) or url_fault(repository.url):
            yield Admission()
            return
        access = GitAccess(Secrets(self._line, means.vault), repository.url, means.data)
        try:
            yield await access.admission()
        except Refusal as refusal:
            raise Unprepared(f"the repository cannot be reached: {refusal}") from refusal
        finally:
            access.close()

    async def _set_up(self, tree: Tree) -> None:
        means = self._means
        await self._show(f"$ {tree.setup}\n".encode())
        work = command_spec(means, self._assignment, tree.setup, tree, until=math.inf)
        spec = structs.replace(work.spec, execution_id=means.clock.new_id())
        process = await means.host.start(spec)
        async with unattended(means, self._assignment, self._line, process):
            await see_through(process, self._show)

    def _enclose(self, reach: Reach) -> Box | None:
        """Return the box of a process of ours that works for this execution."""
        return box_of(self._assignment, self._means.house, reach, doors=())


def _redacted(diff: Diff, redactor: Redactor) -> Diff:
    """Return it without secrets, and without a name that is one."""
    patch, changes = redactor.bytes(diff.patch), diff.changes
    files = [structs.replace(each, path=redactor.text(each.path)) for each in changes.files]
    skipped = [redactor.text(each) for each in changes.skipped]
    return Diff(
        changes=structs.replace(changes, files=files, skipped=skipped, patch_bytes=len(patch)),
        patch=patch,
    )


async def _stored(diffs: Diffs | None, key: DiffKey, diff: Diff) -> bool:
    """Return whether a patch is on the bus; the files are kept in any case."""
    if diffs is None:
        return False
    try:
        async with asyncio.timeout(STORE_SEC):
            for pause in pauses():
                try:
                    await diffs.write(key, diff)
                except Unavailable as error:
                    log.info("diff.waiting", checkpoint=key.checkpoint, error=str(error))
                    await asyncio.sleep(pause)
                else:
                    return True
    except TimeoutError:
        log.warning("diff.unstored", checkpoint=key.checkpoint)
    return False
