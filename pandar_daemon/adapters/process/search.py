"""Searching the machine for who carries an execution's tag, for many executions at once.

Somebody else's program may have started a process on behalf of a tree, so that it is nobody's
descendant. To find it every process has to be looked at; when 500 executions end together, once
for all of them rather than 500 times.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict

from pandar_daemon.adapters.process.guardian import EXECUTION_TAG
from pandar_daemon.adapters.process.kernel import LINUX
from pandar_daemon.adapters.process.tree import environment_of, pids, tagged

_STRIDE = 32  # processes looked at before others may run: half a millisecond
_NAME = f"{EXECUTION_TAG}=".encode()


class Search:
    """Answers together all who ask while it is busy."""

    def __init__(self) -> None:
        self._asked: dict[str, asyncio.Future[list[int]]] = {}
        self._searching: asyncio.Task[None] | None = None

    async def carriers(self, tag: str) -> list[int]:
        """Return who, of those that live now, has the tag of an execution: ``NAME=value``."""
        if not LINUX:
            return tagged(tag)
        if tag not in self._asked:
            self._asked[tag] = asyncio.get_running_loop().create_future()
        answer = self._asked[tag]
        if self._searching is None or self._searching.done():
            self._searching = asyncio.create_task(self._search())
        return await asyncio.shield(answer)

    async def _search(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, {}
            found = defaultdict[str, list[int]](list)
            for number, pid in enumerate(pids()):
                if number % _STRIDE == 0:
                    await asyncio.sleep(0)
                for pair in environment_of(pid):
                    if pair.startswith(_NAME):
                        found[pair.decode(errors="replace")].append(pid)
            for tag, answer in asked.items():
                answer.set_result(found[tag])
