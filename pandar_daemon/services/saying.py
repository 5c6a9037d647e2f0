"""Saying things to an agent: in order, without ever waiting for it to listen."""

from __future__ import annotations

import asyncio
from typing import Final

from pandar_daemon.ports import Talk

UNREAD_MAX: Final = 4 * 2**20
"""Bytes an agent may leave unread."""


class Saying:
    """What is said to one agent. Who reads nothing is told nothing more: see `is_unheard`."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._said: asyncio.Queue[bytes] = asyncio.Queue()
        self._unread = 0

    @property
    def is_unheard(self) -> bool:
        """Whether it left more unread than it may."""
        return self._unread > UNREAD_MAX

    def say(self, data: bytes) -> None:
        """Have this written after all that was said before."""
        if data and not self.is_unheard:
            self._unread += len(data)
            self._said.put_nowait(data)

    async def run(self) -> None:
        """Write what is said, until cancelled."""
        while True:
            data = await self._said.get()
            await self._talk.write(data)
            self._unread -= len(data)
