"""A program that owns embedded servers, for tests that kill it: ``owner.py DIRECTORY``.

Prints one line of JSON once they answer, then keeps them until SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

from pandar_daemon.adapters.embedded.servers import Servers
from pandar_daemon.config import Settings


async def main(directory: Path) -> None:
    """Own the servers of a directory until told to stop."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with Servers(Settings(data=directory, nats_port=0, pg_port=0), durable=False) as servers:
        sys.stdout.write(json.dumps(_described(servers)) + "\n")
        sys.stdout.flush()
        await stopped.wait()


def _described(servers: Servers) -> dict[str, object]:
    running = [server.child for server in (servers.postgres, servers.nats) if server is not None]
    return {
        "database_url": servers.database_url,
        "nats_url": servers.nats_url,
        "pids": [child.pid for child in running if child is not None],
    }


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
