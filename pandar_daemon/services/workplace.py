"""The folder of one execution: made ready before anything runs in it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

from msgspec import structs

from events.running import Assignment
from pandar_daemon.ports import Box
from pandar_daemon.services.enclosing import Reach
from pandar_daemon.services.git import Unprepared
from pandar_daemon.services.making import Tree
from pandar_daemon.services.means import Means
from pandar_daemon.services.setup import see_through
from pandar_daemon.services.workspace import command_spec


class Workplace:
    """One execution's."""

    def __init__(
        self, assignment: Assignment, means: Means, show: Callable[[bytes], Awaitable[None]]
    ) -> None:
        """Show by ``show`` what the project's setup writes."""
        self._assignment = assignment
        self._means = means
        self._show = show
        self._given_at = means.clock.boottime()
        self._making: asyncio.Task[Tree] | None = None

    async def ready(self) -> Tree:
        """Return the folder it is to run in; raises ``OSError``, also when it was given up."""
        self._making = asyncio.create_task(self._make())
        try:
            return await self._making
        except asyncio.CancelledError:
            if (current := asyncio.current_task()) is not None and current.cancelling():
                raise
            raise Unprepared("it was ended before it began") from None
        finally:
            self._making = None

    def give_up(self) -> None:
        """Make no more ready what is not to be started any more."""
        if self._making is not None:
            self._making.cancel()

    async def _make(self) -> Tree:
        means, assignment = self._means, self._assignment
        tree = await means.trees.ready(assignment, self._enclose, since=self._given_at)
        if tree.setup:
            await self._set_up(tree)
            means.trees.was_set_up(assignment.task_id)
        return tree

    async def _set_up(self, tree: Tree) -> None:
        means = self._means
        await self._show(f"$ {tree.setup}\r\n".encode())
        work = command_spec(
            means.data, self._assignment, tree.setup, tree, until=math.inf, path=means.path
        )
        spec = structs.replace(work.spec, execution_id=means.clock.new_id())
        await see_through(await means.host.start(spec), self._show)

    def _enclose(self, _reach: Reach) -> Box | None:
        """Return the box of a process of ours that works for this execution."""
        return None
