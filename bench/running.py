"""A whole Pandar at work: idle, living through tasks, answering commands, carrying output."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import msgspec

from bench import process
from bench.daemon import SLOTS, Daemon, daemon
from bench.distribution import Distribution
from bench.figures import Figure, at_least, at_most, ratio
from bench.loading import Load, Loading, Report
from bench.postgres import work
from bench.scale import Scale
from events import commands as do
from events import subjects
from pandar_daemon.services.asking import Asker
from tests.support.load import asking

MIB = 2**20
_LEISURE_SEC = 0.03  # between two commands: their events are on the bus and shown by then
PART_LIFE = f"life of `true`, {SLOTS} in flight"


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
    before, servers_before = process.usage(pandar.pid)
    began = time.perf_counter()
    await asyncio.sleep(scale.idle_sec)
    after, servers = process.usage(pandar.pid)
    took = time.perf_counter() - began
    theirs = (servers.cpu_sec - servers_before.cpu_sec) / took * 100
    note = f"its Postgres and NATS besides: {theirs:.1f} %"
    cpu = (after.cpu_sec - before.cpu_sec) / took * 100
    return [
        Figure(part="idle", what="RSS", value=after.rss / MIB, unit="MiB", goal=at_most(150)),
        Figure(part="idle", what="CPU", value=cpu, unit="%", goal=at_most(1), note=note),
    ]


async def memory(pandar: Daemon) -> list[Figure]:
    """Return what it holds after all that."""
    mine, _ = process.usage(pandar.pid)
    return [Figure(part="after it all", what="RSS", value=mine.rss / MIB, unit="MiB")]


# --- tasks -------------------------------------------------------------------------------------


async def lives(pandar: Daemon, scale: Scale) -> list[Figure]:
    """Return the figures of tasks that run ``true``, from filing to their end."""
    await _load(pandar, 2 * SLOTS, "warm")
    before, used_before = await work(pandar.postgres), process.usage(pandar.pid)
    report = await _load(pandar, scale.life_tasks, "life")
    done = (await work(pandar.postgres)).since(before)
    used = process.usage(pandar.pid)
    rate = scale.life_tasks / report.seconds
    spawns = await _spawn_rate(scale.spawns)

    def figure(what: str, value: float, unit: str, **more: object) -> Figure:
        return Figure(part=PART_LIFE, what=what, value=value, unit=unit, **more)  # type: ignore[arg-type]

    n = scale.life_tasks
    pages = f"{done.full_pages / n:.2f} pages of it whole, after a checkpoint"
    return [
        figure("tasks", rate, "/s"),
        figure("of spawning `true`", ratio(rate, spawns), "x", note=f"bare: {spawns:,.0f}/s"),
        figure("filed → answered p50", report.filing.p50 * 1e3, "ms"),
        figure("filed → ended p50", report.life.p50 * 1e3, "ms"),
        figure("filed → ended p99", report.life.p99 * 1e3, "ms"),
        figure("writing commits per task", done.writes / n, "", goal=at_most(2)),
        figure("transactions per task, reads too", done.commits / n, ""),
        figure("WAL flushes per task", done.flushes / n, ""),
        figure("WAL per task", done.wal_bytes / n / 1e3, "kB", goal=at_most(12), note=pages),
        *(figure(what, sec / n * 1e3, "ms") for what, sec in _processor_time(used_before, used)),
    ]


Both = tuple[process.Usage, process.Usage]


def _processor_time(before: Both, after: Both) -> list[tuple[str, float]]:
    (mine, theirs), (mine_before, theirs_before) = after, before
    return [
        ("CPU of the daemon per task", mine.cpu_sec - mine_before.cpu_sec),
        ("CPU of guardian and command per task", mine.ended_sec - mine_before.ended_sec),
        ("CPU of Postgres and NATS per task", theirs.cpu_sec - theirs_before.cpu_sec),
    ]


async def _load(pandar: Daemon, tasks: int, name: str) -> Report:
    load = Load(tasks=tasks, in_flight=SLOTS, name=f"bench-{name}")
    report = await Loading(pandar.http, load).run()
    if report.ended["completed"] != tasks:
        raise RuntimeError(f"{dict(report.ended)}: {report.troubles}")
    return report


async def _spawn_rate(spawns: int) -> float:
    numbers = iter(range(spawns))

    async def spawner() -> None:
        for _ in numbers:
            await (await asyncio.create_subprocess_exec("true")).wait()

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(SLOTS):
            group.create_task(spawner())
    return spawns / (time.perf_counter() - began)


# --- commands ----------------------------------------------------------------------------------


async def answers(pandar: Daemon, scale: Scale) -> list[Figure]:
    """Return how long a command on the bus takes, against commits of one row, in turn with it."""
    asked, committed = Distribution(), Distribution()
    async with (
        _one_row(pandar) as commit,
        asking(pandar.place.nats_url, pandar.token) as asker,
    ):
        for n in range(scale.asks):
            await _timed(committed, commit(n))
            await _timed(asked, _ask(asker, n))
            await asyncio.sleep(_LEISURE_SEC)
    return [
        Figure(part="command", what="asked → answered p50", value=asked.p50 * 1e3, unit="ms"),
        Figure(
            part="command",
            what="of a commit of one row",
            value=ratio(asked.p50, committed.p50),
            unit="x",
            goal=at_most(2),
            note=f"commit: {committed.p50 * 1e3:.2f} ms",
        ),
    ]


async def _timed(taken: Distribution, work: Awaitable[object]) -> None:
    began = time.perf_counter()
    await work
    taken.add(time.perf_counter() - began)


async def _ask(asker: Asker, number: int) -> None:
    command = do.CreateTask(name="ask", command="true", project_id=1, auto_start=False)
    body = msgspec.json.encode(command)
    await asker.ask(subjects.command("task.create", 1), body, f"bench-ask-{number}")


@asynccontextmanager
async def _one_row(pandar: Daemon) -> AsyncIterator[Callable[[int], Awaitable[object]]]:
    """Yield what commits a row, in a database of its own on the same Postgres."""
    name, url = "bench_commit", pandar.place.database_url
    await pandar.postgres.execute(f"CREATE DATABASE {name}")
    connection = await asyncpg.connect(f"{url.rpartition('/')[0]}/{name}")
    try:
        await connection.execute("CREATE TABLE one (n integer)")
        yield (await connection.prepare("INSERT INTO one VALUES ($1)")).fetch
    finally:
        await connection.close()
        await pandar.postgres.execute(f"DROP DATABASE {name}")


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
