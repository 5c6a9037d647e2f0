"""What it costs to start a command in a box, against starting it in none."""

from __future__ import annotations

import time
from pathlib import Path

from bench.figures import Figure, at_most, ratio, typical, unmeasured
from bench.scale import Scale
from events.confinement import Level
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.process.host import Host
from pandar_daemon.adapters.sandbox import landlock, programs
from pandar_daemon.adapters.sandbox.boxes import Boxes
from pandar_daemon.ports import Box, Spec

PART = "box"
_GOAL_MS = 45.0
_WARM = 3
_CLOCK = SystemClock()


async def measure(data: Path, scale: Scale) -> list[Figure]:
    """Return what a box adds until its command runs, each level in turn with none."""
    work = data / "work"
    work.mkdir(parents=True)
    host = Host(data, boxes=Boxes(data / "sandbox", programs.bubblewrap()))
    levels = _levels()
    taken: dict[Level, list[float]] = {level: [] for level in levels}
    for turn in range(scale.boxes + _WARM):
        for level in levels:
            spent = await _started(host, work, level)
            if turn >= _WARM:
                taken[level].append(1_000 * spent)
    bare = typical(taken[Level.NONE])
    boxed = [level for level in levels if level is not Level.NONE]
    if not boxed:
        return [unmeasured(PART, "this machine has neither bubblewrap nor Landlock")]
    return [_figure(level, typical(taken[level]), bare) for level in boxed]


def _levels() -> list[Level]:
    offered = {
        Level.NONE: True,
        Level.BWRAP: programs.bubblewrap() is not None,
        Level.LANDLOCK: landlock.abi() >= landlock.ABI_MIN,
    }
    return [level for level, is_offered in offered.items() if is_offered]


async def _started(host: Host, work: Path, level: Level) -> float:
    """Return how long it took, in seconds, until a command ran."""
    box = None if level is Level.NONE else Box(level=level, writable=(str(work),))
    spec = Spec(
        execution_id=_CLOCK.new_id(),
        argv=("/bin/true",),
        cwd=str(work),
        environment={"PATH": "/usr/bin:/bin"},
        box=box,
    )
    began = time.perf_counter()
    process = await host.start(spec)
    spent = time.perf_counter() - began
    async for _ in process.output():
        pass
    await process.wait()
    return spent


def _figure(level: Level, boxed: float, bare: float) -> Figure:
    return Figure(
        part=PART,
        what=f"what a box of level {level} adds to a start",
        value=boxed - bare,
        unit="ms",
        goal=at_most(_GOAL_MS) if level is Level.BWRAP else None,
        note=f"{boxed:.1f} ms, bare {bare:.1f} ms: {ratio(boxed, bare):.1f} x",
    )
