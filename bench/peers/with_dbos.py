"""DBOS running ``true`` in a step of a queued workflow: see `bench.peers.contest`.

A program for an environment of its own, where Pandar is not installed:
``with_dbos.py prepare|work|file URL TASKS IN_FLIGHT``.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time

from dbos import DBOS, DBOSClient  # type: ignore[import-not-found] # it is not installed here

QUEUE = "bench"
POLL_SEC = 0.05
"""How often the queue is looked at. The default of 1 s would let it start 16 tasks a second."""


async def spawn() -> None:
    """Do the step."""
    await (await asyncio.create_subprocess_exec("true")).wait()


def _launched(url: str, sessions: int) -> None:
    DBOS(
        config={
            "name": "bench",
            "system_database_url": url,
            "sys_db_pool_size": sessions,
            "application_version": "1",
            "run_admin_server": False,
            "log_level": "ERROR",
        }
    )
    step = DBOS.step(name="spawn")(spawn)

    async def workflow() -> None:
        await step()

    DBOS.workflow(name="workflow")(workflow)
    DBOS.launch()


def prepare(url: str) -> None:
    """Make its tables."""
    _launched(url, 2)
    DBOS.destroy()


def work(url: str, in_flight: int) -> None:
    """Run workflows until a signal asks to stop."""
    _launched(url, in_flight)
    DBOS.register_queue(QUEUE, worker_concurrency=in_flight, polling_interval_sec=POLL_SEC)
    print("ready", flush=True)
    signal.sigwait({signal.SIGTERM})
    DBOS.destroy()


async def file(url: str, tasks: int, in_flight: int) -> None:
    """File workflows, so many at a time; print when that began and ended."""
    client = DBOSClient(system_database_url=url, system_database_pool_size=in_flight)
    numbers = iter(range(tasks))

    async def filer() -> None:
        for _ in numbers:
            await client.enqueue_async({"workflow_name": "workflow", "queue_name": QUEUE})

    began = time.monotonic()
    await asyncio.gather(*(filer() for _ in range(in_flight)))
    print(json.dumps({"began": began, "filed": time.monotonic()}), flush=True)
    client.destroy()


def main() -> None:
    """Do what the arguments say."""
    verb, url, tasks, in_flight = sys.argv[1:]
    match verb:
        case "prepare":
            prepare(url)
        case "work":
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            work(url, int(in_flight))
        case _:
            asyncio.run(file(url, int(tasks), int(in_flight)))


if __name__ == "__main__":
    main()
