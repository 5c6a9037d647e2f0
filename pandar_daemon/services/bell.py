"""The doorbell: tells whoever reads the log that it has grown. Off the write path, and a hint only.

In process it is an event; across processes a core message at most every `COALESCE_SEC`. Whoever
waits also looks by themselves every second, so a lost ring costs a second and nothing else.
"""

from __future__ import annotations

import asyncio

from events import subjects
from pandar_daemon.ports import Wire

COALESCE_SEC = 0.010
POLL_SEC = 1.0


class Bell:
    """Rings in this process at once and in the others soon."""

    def __init__(self, wire: Wire, name: str = "") -> None:
        """Ring the others over ``wire``; by ``name``, its own, a bell knows its echo."""
        self._wire = wire
        self._name = name.encode()
        self._here = asyncio.Event()
        self._there = asyncio.Event()

    def ring(self, _position: int) -> None:
        """Say that the log has grown; never blocks, never fails.

        Heard at the end of the loop's next turn: whoever asked for the append is answered first.
        """
        asyncio.get_running_loop().call_later(0, self._rung)

    def _rung(self) -> None:
        self._here.set()
        self._there.set()

    async def wait(self) -> bool:
        """Return true at the next ring, or false after a second."""
        try:
            async with asyncio.timeout(POLL_SEC):
                await self._here.wait()
        except TimeoutError:
            return False
        self._here.clear()
        return True

    async def run(self) -> None:
        """Carry rings between processes until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send())
            group.create_task(self._receive())

    async def _send(self) -> None:
        while True:
            await self._there.wait()
            self._there.clear()
            await self._wire.publish(subjects.BELL, self._name)
            await asyncio.sleep(COALESCE_SEC)

    async def _receive(self) -> None:
        async with self._wire.subscribe(subjects.BELL) as rings:
            async for ring in rings:
                if not self._name or ring.body != self._name:
                    self._here.set()
