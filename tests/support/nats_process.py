"""A nats-server a test may kill: on a port of its own, with a store that outlives the process."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from pathlib import Path

from tests.support.daemon import free_port

_BINARY = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or "nats-server"


class NatsProcess:
    """Starts, kills, freezes and restarts one nats-server on 127.0.0.1."""

    def __init__(self, store: Path) -> None:
        """Keep everything in ``store``, a folder."""
        self.store = store
        self.cluster = ""
        """The settings that make it one of several, for the next start."""
        self._port = free_port()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def name(self) -> str:
        """Return what it is called among others: the name of its folder."""
        return self.store.name

    @property
    def url(self) -> str:
        """Return its URL, the token included."""
        return f"nats://secret@127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Start it on its port and store; returns once it says it is ready."""
        conf = self.store / "nats.conf"
        conf.write_text(
            f'listen: "127.0.0.1:{self._port}"\n'
            'authorization { token: "secret" }\n'
            "max_payload: 1MB\n"
            f'jetstream {{ store_dir: "{self.store}", max_mem: 64MB, max_file: 10GB }}\n'
            f'server_name: "{self.name}"\n{self.cluster}'
        )
        self._process = await asyncio.create_subprocess_exec(
            _BINARY, "-c", str(conf), stderr=asyncio.subprocess.PIPE
        )
        assert self._process.stderr is not None
        while b"Server is ready" not in (line := await self._process.stderr.readline()):
            assert line, "nats-server ended before it was ready"

    async def kill(self) -> None:
        """Send it SIGKILL and wait until it is gone."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """End it in order, frozen or not; harmless when it is gone."""
        self.thaw()
        await self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Let it keep its sockets and do nothing."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def _end(self, number: signal.Signals) -> None:
        self._send(number)
        if self._process is not None:
            await self._process.communicate()
