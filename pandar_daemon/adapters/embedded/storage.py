"""Starts the embedded nats-server again once the disk that was full has room.

A stream that failed to write stays closed for writing until the server is started again, while
the server itself is up and answers::

    storing ──disk full, or a stream stores nothing for long──▶ stuck ──room on the disk──▶ restart

A full disk is seen here even when nobody of ours had anything to store meanwhile.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import structlog

from pandar_daemon.adapters.embedded.nats_server import NatsServer

log = structlog.get_logger(__name__)

LOOK_SEC = 1.0
STUCK_SEC = 15.0
"""For so long a stream may store nothing; restarts that do not help double it."""
LONGEST_SEC = 300.0
FULL_BYTES = 2**20
"""With less than this a message, at most 1 MB, may have failed to be written."""
ROOM_BYTES = 8 * 2**20
"""With less than this a restart would soon be needed again."""


class Storage:
    """Watches whether a server that is kept running also stores.

    ``stalled`` tells for how many seconds some stream has stored nothing, ``restarted`` is called
    after the server was stopped, for whoever keeps it to start it again.
    """

    def __init__(
        self, server: NatsServer, stalled: Callable[[], float], restarted: Callable[[], None]
    ) -> None:
        self._server = server
        self._stalled = stalled
        self._restarted = restarted
        self._was_full = False
        self._patience_sec = STUCK_SEC

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SEC)
            if self._is_stuck() and self._free() >= ROOM_BYTES:
                log.warning("server.stores_nothing", server=self._server.name)
                await self._restart()

    def _is_stuck(self) -> bool:
        self._was_full = self._was_full or self._free() < FULL_BYTES
        stalled_sec = self._stalled()
        if not stalled_sec:
            self._patience_sec = STUCK_SEC
        return self._was_full or stalled_sec >= self._patience_sec

    async def _restart(self) -> None:
        await self._server.stop()
        self._patience_sec = min(2 * self._patience_sec, LONGEST_SEC)
        self._was_full = False
        self._restarted()

    def _free(self) -> int:
        return shutil.disk_usage(_existing(self._server.store)).free


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
