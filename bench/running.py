"""A whole Pandar at work: idle, living through tasks, answering commands, carrying output."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from pathlib import Path

import msgspec

from bench import process
from bench.answering import answers
from bench.daemon import Daemon, daemon
from bench.figures import Figure, at_least, at_most
from bench.living import lives
from bench.scale import Scale

MIB = 2**20
_SETTLED_SEC = 5.0
"""After so long a daemon that came up has made and learned what it does once."""


async def measure(data: Path, scale: Scale) -> list[Figure]:
    """Return the figures of a daemon on data of its own."""
    async with daemon(data) as pandar:
        figures = await idle(pandar, scale)
        figures += await lives(pandar, scale)
        figures += await answers(pandar, scale)
        figures += await output(pandar, scale)
        return [*figures, *await memory(pandar)]


# --- idle --------------------------------------------------------------------------------------


async def idle(pandar: Daemon, scale: Scale) -> list[Figure]:
    """Return what it uses while nothing happens."""
    await asyncio.sleep(_SETTLED_SEC)
    before = process.usage(pandar.pid)
    began = time.perf_counter()
    await asyncio.sleep(scale.idle_sec)
    after = process.usage(pandar.pid)
    took = time.perf_counter() - began
    theirs = (after.servers.cpu_sec - before.servers.cpu_sec) / took * 100
    note = f"its Postgres and NATS besides: {theirs:.1f} %"
    cpu = (after.own.cpu_sec - before.own.cpu_sec) / took * 100
    return [
        Figure(part="idle", what="RSS", value=after.own.rss / MIB, unit="MiB", goal=at_most(150)),
        Figure(part="idle", what="CPU", value=cpu, unit="%", goal=at_most(1), note=note),
    ]


async def memory(pandar: Daemon) -> list[Figure]:
    """Return what it holds after all that."""
    mine = process.usage(pandar.pid).own
    return [Figure(part="after it all", what="RSS", value=mine.rss / MIB, unit="MiB")]


# --- output ------------------------------------------------------------------------------------


async def output(pandar: Daemon, scale: Scale) -> list[Figure]:
    """Return how fast a task's output reaches a client that follows it."""
    size = scale.output_mib * MIB
    command = f"head -c {size} /dev/zero | tr '\\0' x"
    bare = await _terminal_rate(command, size)
    figures = []
    for what, path in (("text", "output?follow=true"), ("SSE", "stream")):
        rate = await _followed(pandar, command, path, size) / MIB
        figures.append(
            Figure(
                part="output",
                what=f"runner → NATS → {what}",
                value=rate,
                unit="MiB/s",
                goal=at_least(20),
                note=f"{rate / bare:.2f} x a bare terminal ({bare:,.0f} MiB/s)",
            )
        )
    return figures


async def _followed(pandar: Daemon, command: str, path: str, size: int) -> float:
    """Return bytes of output a second between its filing and its last byte."""
    body = {"name": "output", "command": command, "project_id": 1}
    began = time.perf_counter()
    async with pandar.http.post("/api/v1/tasks", json=body) as reply:
        task = msgspec.json.decode(await reply.read())
    seen = 0
    async with pandar.http.get(f"/api/v1/tasks/{task['id']}/{path}") as reply:
        reply.raise_for_status()
        async for data in reply.content.iter_any():
            seen += data.count(b"x")
            if seen >= size:
                break
    if seen < size:
        raise RuntimeError(f"{seen} of {size} bytes came")
    return size / (time.perf_counter() - began)


async def _terminal_rate(command: str, size: int) -> float:
    """Return how many MiB a second a bare terminal takes of the same output."""

    def read() -> float:
        began = time.perf_counter()
        terminal, theirs = os.openpty()
        with subprocess.Popen(["sh", "-c", command], stdout=theirs):
            left = size
            while left > 0:
                left -= len(os.read(terminal, 65_536))
        os.close(theirs)
        os.close(terminal)
        return size / MIB / (time.perf_counter() - began)

    return await asyncio.to_thread(read)
