"""The embedded nats-server with JetStream, as our child."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Mapping
from pathlib import Path

import nats
import nats.errors

from pandar_daemon.adapters.embedded import children, ports
from pandar_daemon.adapters.embedded.binaries import nats_server
from pandar_daemon.adapters.embedded.children import Child, Program
from pandar_daemon.adapters.embedded.data import DataDirectory
from pandar_daemon.adapters.embedded.readiness import Readiness, until_ready

USUAL_PORT = 4222
READY_TIMEOUT_SEC = 30.0

# `reader` is for programs of others: it may ask, read and consume, but not speak as Pandar, nor
# listen where tokens pass, nor take commands off the queue.
# js_ack_fc_v2 off: nats-py 2.16 cannot parse its acknowledgement subjects and loses its reader.
_CONFIGURATION = """\
listen: "{host}:{port}"
server_name: pandar
logtime_utc: true
max_payload: 1MB
authorization {{
  users: [
    {{ user: pandar, password: {password} }}
    {{ user: reader, password: {reader}, permissions: {{
      publish: {{
        allow: [
          "pandar.v1.cmd.>", "pandar.v1.queue.>", "$SRV.>", "$JS.API.INFO", "$JS.ACK.>",
          "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.STREAM.INFO.*",
          "$JS.API.STREAM.MSG.GET.*", "$JS.API.DIRECT.GET.>", "$JS.API.CONSUMER.>"
        ]
        deny: [
          "$JS.ACK.PANDAR_COMMANDS.>", "$JS.API.STREAM.MSG.GET.PANDAR_COMMANDS",
          "$JS.API.DIRECT.GET.PANDAR_COMMANDS", "$JS.API.DIRECT.GET.PANDAR_COMMANDS.>",
          "$JS.API.CONSUMER.*.PANDAR_COMMANDS", "$JS.API.CONSUMER.*.PANDAR_COMMANDS.>",
          "$JS.API.CONSUMER.*.*.PANDAR_COMMANDS.>"
        ]
      }}
      subscribe: {{
        allow: [
          "_INBOX.>", "pandar.v1.evt.>", "pandar.v1.out.>", "pandar.v1.live.>",
          "pandar.v1.result.*"
        ]
      }}
    }} }}
  ]
}}
jetstream {{
  store_dir: {store}
  max_mem: 64MB
  max_file: 10GB
  sync_interval: {sync}
}}
feature_flags {{ js_ack_fc_v2: false }}
"""


class NatsServer:
    """A nats-server on 127.0.0.1 with random passwords and its streams under ``data``.

    ``port`` is what ``PANDAR_NATS_PORT`` asks for, ``store`` where its streams are.
    ``durable=False`` is for tests: a power cut may then lose acknowledged messages, a killed
    process may not.
    """

    name = "nats"

    def __init__(
        self,
        data: DataDirectory,
        environment: Mapping[str, str],
        *,
        port: int | None = None,
        durable: bool = True,
        keep_fd: int | None = None,
    ) -> None:
        self._data = data
        self._environment = environment
        self._port = ports.Port(data, self.name, "PANDAR_NATS_PORT", asked=port, usual=USUAL_PORT)
        self._durable = durable
        self._keep_fd = keep_fd
        self._log = data.path / "nats.log"
        self.store = data.path / "nats"
        self.child: Child | None = None

    @property
    def url(self) -> str:
        """Return the daemon's own URL, which may do everything; valid once started."""
        return self._url("pandar", "nats.password")

    @property
    def reader_url(self) -> str:
        """Return the URL for programs of others; valid once started."""
        return self._url("reader", "nats.reader.password")

    def _url(self, user: str, secret: str) -> str:
        password = self._data.secret(secret)
        return f"nats://{user}:{password}@{ports.LOOPBACK}:{self._port.number}"

    async def start(self) -> None:
        """Start it; returns when JetStream answered. A restart keeps the port.

        Raises `CannotStart`.
        """
        program = nats_server(self._environment)
        await self._port.listen(lambda port: self._start_on(port, program))

    async def stop(self) -> None:
        """Stop it in order. Harmless when stopped."""
        if self.child is not None:
            await self.child.stop()

    async def _start_on(self, port: int, program: Path) -> None:
        configuration = self._data.write("nats.conf", self._configuration(port))
        self.child = await children.start(
            Program(
                argv=(str(program), "-c", str(configuration)),
                log=self._log,
                stop=signal.SIGTERM,
                keep_fd=self._keep_fd,
            )
        )
        wanted = Readiness(self.name, self._log, READY_TIMEOUT_SEC)
        await until_ready(self.child, self._answers, wanted)

    def _configuration(self, port: int) -> str:
        return _CONFIGURATION.format(
            host=ports.LOOPBACK,
            port=port,
            password=json.dumps(self._data.secret("nats.password")),
            reader=json.dumps(self._data.secret("nats.reader.password")),
            store=json.dumps(str(self.store)),
            sync="always" if self._durable else '"10s"',
        )

    async def _answers(self) -> bool:
        if not await self._greets():
            return False
        try:
            # A client that may reconnect would go on trying for ever after this server is gone.
            client = await nats.connect(
                self.url,
                allow_reconnect=False,
                max_reconnect_attempts=0,
                connect_timeout=2,
                error_cb=_ignore,
            )
        except (OSError, nats.errors.Error):
            return False
        try:
            await client.jetstream().account_info()
        except (OSError, nats.errors.Error):
            return False
        finally:
            await client.close()
        return True

    async def _greets(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection(ports.LOOPBACK, self._port.number)
        except OSError:
            return False
        try:
            async with asyncio.timeout(2):
                return (await reader.readline()).startswith(b"INFO ")
        except (OSError, TimeoutError):
            return False
        finally:
            writer.close()


async def _ignore(error: Exception) -> None:
    """Say nothing of a failed try: the next one, or the end of the wait, tells."""
