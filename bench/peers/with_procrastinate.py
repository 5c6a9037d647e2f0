"""Procrastinate running ``true``: a worker, and a client that files; see `bench.peers.contest`.

A program for an environment of its own, where Pandar is not installed:
``with_procrastinate.py prepare|work|file URL TASKS IN_FLIGHT``.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import procrastinate  # type: ignore[import-not-found] # it is not installed beside Pandar


async def spawn() -> None:
    """Do the job."""
    await (await asyncio.create_subprocess_exec("true")).wait()


def _app(url: str, sessions: int) -> procrastinate.App:
    connector = procrastinate.PsycopgConnector(conninfo=url, min_size=sessions, max_size=sessions)
    return procrastinate.App(connector=connector)


async def prepare(url: str) -> None:
    """Make its tables."""
    async with _app(url, 1).open_async() as app:
        await app.schema_manager.apply_schema_async()


async def work(url: str, in_flight: int) -> None:
    """Run jobs until a signal asks to stop."""
    app = _app(url, in_flight)
    app.task(name="spawn")(spawn)
    async with app.open_async():
        print("ready", flush=True)
        await app.run_worker_async(concurrency=in_flight)


async def file(url: str, tasks: int, in_flight: int) -> None:
    """File jobs, so many at a time; print when that began and ended."""
    app = _app(url, in_flight)
    task = app.task(name="spawn")(spawn)
    numbers = iter(range(tasks))

    async def filer() -> None:
        for _ in numbers:
            await task.defer_async()

    async with app.open_async():
        began = time.monotonic()
        await asyncio.gather(*(filer() for _ in range(in_flight)))
        print(json.dumps({"began": began, "filed": time.monotonic()}), flush=True)


def main() -> None:
    """Do what the arguments say."""
    verb, url, tasks, in_flight = sys.argv[1:]
    match verb:
        case "prepare":
            asyncio.run(prepare(url))
        case "work":
            asyncio.run(work(url, int(in_flight)))
        case _:
            asyncio.run(file(url, int(tasks), int(in_flight)))


if __name__ == "__main__":
    main()
