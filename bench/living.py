"""Whole lives of tasks that run ``true``: filed, run, ended, so many at a time.

They are filed in two ways by turns of the same length: over HTTP, as a person's programs do, and
as commands on the bus, as programs beside Pandar do. What they cost the log is counted on the bus.
"""

from __future__ import annotations

import asyncio
import time

from bench import process
from bench.bus import BusLoading
from bench.daemon import SLOTS, Daemon
from bench.figures import Figure, at_most, ratio
from bench.loading import Load, Loading, Report
from bench.postgres import Work, work
from bench.scale import Scale

PART = f"life of `true`, {SLOTS} in flight"


async def lives(pandar: Daemon, scale: Scale) -> list[Figure]:
    """Return the figures of tasks from filing to their end."""
    await on_bus(pandar, 2 * SLOTS, "warm")
    before, used_before = await work(pandar.postgres), process.usage(pandar.pid)
    report = await on_bus(pandar, scale.life_tasks, "bus")
    done, used = (await work(pandar.postgres)).since(before), process.usage(pandar.pid)
    spawns = await _spawn_rate(scale.spawns)
    http_tasks = scale.life_tasks // 3
    by_http = await over_http(pandar, http_tasks, "http")
    return [
        *_speed(report, scale.life_tasks, spawns),
        *_cost(done, scale.life_tasks),
        *_processor_time(used_before, used, scale.life_tasks),
        *_speed_of_http(by_http, http_tasks),
    ]


def _figure(what: str, value: float, unit: str, **more: object) -> Figure:
    return Figure(part=f"{PART}, bus", what=what, value=value, unit=unit, **more)  # type: ignore[arg-type]


def _speed(report: Report, tasks: int, spawns: float) -> list[Figure]:
    rate = tasks / report.seconds
    return [
        _figure("tasks", rate, "/s"),
        _figure("of spawning `true`", ratio(rate, spawns), "x", note=f"bare: {spawns:,.0f}/s"),
        _figure("filed → answered p50", report.filing.p50 * 1e3, "ms"),
        _figure("filed → ended p50", report.life.p50 * 1e3, "ms"),
        _figure("filed → ended p99", report.life.p99 * 1e3, "ms"),
    ]


def _cost(done: Work, n: int) -> list[Figure]:
    pages = f"{done.full_pages / n:.2f} pages of it whole, after a checkpoint"
    return [
        _figure("writing commits per task", done.writes / n, "", goal=at_most(2)),
        _figure("transactions per task, reads too", done.commits / n, ""),
        _figure("WAL flushes per task", done.flushes / n, ""),
        _figure("WAL per task", done.wal_bytes / n / 1e3, "kB", goal=at_most(12), note=pages),
    ]


def _processor_time(before: process.Household, after: process.Household, n: int) -> list[Figure]:
    spent = (
        ("CPU of the daemon per task", after.own.cpu_sec - before.own.cpu_sec),
        ("CPU of guardian and command per task", after.others.cpu_sec - before.others.cpu_sec),
        ("CPU of Postgres and NATS per task", after.servers.cpu_sec - before.servers.cpu_sec),
    )
    return [_figure(what, seconds / n * 1e3, "ms") for what, seconds in spent]


def _speed_of_http(report: Report, tasks: int) -> list[Figure]:
    part = f"{PART}, HTTP"
    return [
        Figure(part=part, what="tasks", value=tasks / report.seconds, unit="/s"),
        Figure(part=part, what="filed → answered p50", value=report.filing.p50 * 1e3, unit="ms"),
        Figure(part=part, what="filed → ended p50", value=report.life.p50 * 1e3, unit="ms"),
    ]


async def on_bus(pandar: Daemon, tasks: int, name: str) -> Report:
    """Let tasks live that are filed on the bus; raises ``RuntimeError`` unless all complete."""
    load = Load(tasks=tasks, in_flight=SLOTS, name=f"bench-{name}")
    return _whole(await BusLoading(pandar.place.nats_url, pandar.token, load).run(), tasks)


async def over_http(pandar: Daemon, tasks: int, name: str) -> Report:
    """Let tasks live that are filed over HTTP; raises ``RuntimeError`` unless all complete."""
    load = Load(tasks=tasks, in_flight=SLOTS, name=f"bench-{name}")
    return _whole(await Loading(pandar.http, load).run(), tasks)


def _whole(report: Report, tasks: int) -> Report:
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
